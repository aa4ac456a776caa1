"""What a kind of ceremony brings to the engine: its rounds as resumable work, and what it ends in.

Rules kept: work yields between keys, so that a node signs meanwhile; a step sees payloads only after the engine has
checked who signed them; nothing a step does outlives the attempt, except through its outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from enclave.certificate import KeyCertificate
from enclave.secret import Secret

T = TypeVar("T")

Work = Generator[None, None, T]
"""A computation in pieces of about a millisecond; its value is what it returns."""


class Effect(StrEnum):
    """What a commit does to one key version at one participant."""

    HOLD = "hold"
    """It holds the new share from then on; an older one is erased."""
    DROP = "drop"
    """It no longer holds the key; its share is erased."""
    KEEP = "keep"
    """Nothing changes here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a ceremony ends in for one key version."""

    certificate: KeyCertificate
    body: bytes
    """The certificate's canonical bytes."""
    source_epoch: int
    """Epoch it replaces; 0 for a new key version."""
    effect: Effect
    share: Secret | None = None
    """This node's share of the new epoch, where it gets one."""
    commitments: tuple[bytes, ...] = ()
    """To the new sharing polynomial, where they are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What all rounds came to."""

    transcript: bytes
    results: Sequence[Result]
    extras: Mapping[str, bytes]
    """Further rows to be sealed with the shares: `kind/id` -> value."""

    def wipe(self) -> None:
        """Forget the shares."""
        for result in self.results:
            if result.share is not None:
                result.share.wipe()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """What the engine knows when the rounds are over."""

    time: int
    """Latest clock of the participants, Unix seconds."""
    transcript: Callable[[bytes], bytes]
    """From what the rounds say to what certificates name."""


class Steps(Protocol):
    """The rounds of one attempt at one participant; payloads are by slot."""

    prepare_round: int
    """The round whose message is the prepare."""

    def first(self) -> Work[bytes]:
        """Payload of round 1."""

    def following(self, number: int, payloads: Mapping[str, bytes]) -> Work[bytes]:
        """Payload of a round between the first and the prepare, from those of the round before."""

    def finish(self, payloads: Mapping[str, bytes], agreed: Agreed) -> Work[Outcome]:
        """The outcome, from the payloads of the last round before the prepare."""

    def complaint(self) -> bytes:
        """After a `share.*` failure: what proves it to anyone; empty where nothing may be revealed."""

    def wipe(self) -> None:
        """Forget every secret of the attempt."""


def completed(work: Work[T]) -> T:
    """The value of work done in one go."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            value: T = stop.value
            return value
