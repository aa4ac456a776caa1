"""What every message of one key ceremony is bound to, and how its payloads are read.

Rules kept (specs/dkg.md section 3): the binding covers protocol, group, session, threshold, participants and
context; a payload that does not have its stated form names its sender, because the node has checked the sender's
signature over it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from enclave.errors import AbortError, CallerError, PeerError, WireError
from enclave.group import Group
from enclave.threshold.shamir import COMMITTEE_MAX, check_indices
from enclave.wire.message import decode_as, tagged

PAYLOAD_BYTES_MAX = 256 * 1024
"""Largest ceremony payload: 64 sealed shares of 1 216 bytes and 64 commitments stay below half of it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceremony:
    """One attempt of a ceremony: who takes part, for which threshold, and why (`context`)."""

    protocol: str
    """Protocol name inside the domain separation, such as `dkg`."""
    group: Group
    session: bytes
    """Unique to this attempt; 16 to 64 bytes."""
    slots: Mapping[int, str]
    """Participants: share index -> slot."""
    threshold: int
    context: bytes
    """Everything else the participants must agree on: order, roster digest, epoch (free form)."""
    indices: tuple[int, ...] = field(init=False, compare=False, repr=False)
    """Participants' share indices in increasing order."""
    binding: bytes = field(init=False)
    """32 bytes that differ whenever anything above differs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", check_indices(self.slots))
        if len(self.slots) > COMMITTEE_MAX or len(set(self.slots.values())) != len(self.slots):
            raise CallerError(f"a committee has at most {COMMITTEE_MAX} distinct slots", code="ceremony.participants")
        if not 1 <= self.threshold <= len(self.slots):
            raise CallerError("threshold must lie between one and the number of holders", code="share.threshold")
        if not 16 <= len(self.session) <= 64:
            raise CallerError("a session id has 16 to 64 bytes", code="ceremony.session")
        object.__setattr__(self, "binding", self._bind())

    def _bind(self) -> bytes:
        members = (part for i in self.indices for part in (i.to_bytes(4, "big"), self.slots[i].encode()))
        return hashlib.sha256(
            tagged(
                "ceremony",
                self.protocol.encode(),
                self.group.name.encode(),
                self.session,
                self.threshold.to_bytes(4, "big"),
                self.context,
                *members,
            )
        ).digest()

    def digest(self, name: str, *rounds: Mapping[int, bytes]) -> bytes:
        """32-byte hash over every participant's payload of the given rounds."""
        parts = [len(rounds).to_bytes(4, "big")]
        for payloads in rounds:
            parts += [part for i in self.indices for part in (i.to_bytes(4, "big"), payloads[i])]
        return hashlib.sha256(tagged(name, self.binding, *parts)).digest()

    def is_one_for_each_other(self, index: int, values: Mapping[int, object]) -> bool:
        """Whether there is a value for every participant but `index`, and no other."""
        return len(values) == len(self.slots) - 1 and index not in values and values.keys() <= self.slots.keys()

    def check_complete(self, payloads: Mapping[int, bytes]) -> None:
        """Raises AbortError (`ceremony.participants`) unless there is one payload of every participant."""
        if payloads.keys() != self.slots.keys():
            raise AbortError("payloads are not those of exactly the participants", code="ceremony.participants")

    def decode(self, kind: type[T], index: int, payload: bytes) -> T:
        """One participant's payload; raises PeerError (`ceremony.malformed`) naming its slot."""
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise self.blame(index, "payload is too large", code="ceremony.malformed")
        try:
            return decode_as(kind, payload)
        except WireError:
            raise self.blame(index, "payload does not have its stated form", code="ceremony.malformed") from None

    def blame(self, index: int, detail: str, *, code: str) -> PeerError:
        """The error that names participant `index`."""
        return PeerError(detail, culprits=[self.slots[index]], code=code)


class StrictRounds:
    """Lets each round of a participant run once, in order, and none after a failure."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 1

    def enter(self, number: int) -> None:
        """Start round `number`; raises CallerError (`ceremony.order`).  Call `done` when it has succeeded."""
        if number != self._next:
            self._next = 0
            raise CallerError("ceremony rounds run once each, in order", code="ceremony.order")
        self._next = 0

    def done(self, number: int) -> None:
        """Allow the round after `number`."""
        self._next = number + 1
