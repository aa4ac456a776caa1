"""The two payloads of distributed key generation, and everything anyone can check about them without a secret.

Public checks (specs/dkg.md section 6), in order: form; every point valid; echo of round 1 equal; commitments open
the round 1 hash; proof of possession.  Participants and auditors run the same code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from enclave.errors import AbortError, CallerError
from enclave.threshold import ceremony_kem, pop, vss
from enclave.threshold.ceremony import Ceremony
from enclave.wire.message import tagged

PROTOCOL = "dkg"
OPENING_BYTES = 32
"""Randomness that hides the commitments until round 2."""


class Round1(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Hash commitment to the polynomial's commitments, and the ceremony public key."""

    commitment: bytes
    kem_key: bytes


class Round2(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What round 1 promised: echo of all of round 1, opening, commitments, proof, sealed shares by receiver."""

    echo: bytes
    opening: bytes
    commitments: list[bytes]
    proof: pop.Proof
    sealed: dict[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a complete transcript publishes."""

    transcript: bytes
    """32-byte hash every participant signs."""
    commitments: tuple[bytes, ...]
    """To the sum polynomial; the first is the public key."""
    public_shares: Mapping[int, bytes]

    @property
    def public_key(self) -> bytes:
        """The group's encoding of the new public key."""
        return self.commitments[0]


def verify_transcript(ceremony: Ceremony, round1: Mapping[int, bytes], round2: Mapping[int, bytes]) -> Outcome:
    """Check all public data of a key generation and compute what it publishes.

    Raises PeerError naming the culprit's slot, or AbortError where the payloads cannot tell who is at fault
    (`ceremony.participants`, `ceremony.equivocation`).
    """
    return read_transcript(ceremony, round1, read_round1(ceremony, round1), round2)[0]


def read_transcript(
    ceremony: Ceremony,
    round1: Mapping[int, bytes],
    firsts: Mapping[int, Round1],
    round2: Mapping[int, bytes],
    *,
    own: int | None = None,
) -> tuple[Outcome, dict[int, Round2]]:
    """The same for who has read round 1, and everyone's second payload.

    `own` is the participant that has compared its own payload with what it made: only the form of that is read.
    """
    seconds = read_round2(ceremony, round1, firsts, round2, own=own)
    group = ceremony.group
    dealt = {ceremony.slots[i]: message.commitments for i, message in seconds.items()}
    commitments = vss.sum_checked(group, dealt, ceremony.threshold)
    outcome = Outcome(
        transcript=ceremony.digest("dkg-transcript", round1, round2),
        commitments=commitments,
        public_shares=vss.public_shares(group, commitments, ceremony.indices),
    )
    return outcome, seconds


def read_round1(ceremony: Ceremony, payloads: Mapping[int, bytes]) -> dict[int, Round1]:
    """Decode and check everyone's first payload; raises PeerError, AbortError."""
    ceremony.check_complete(payloads)
    messages = {}
    for i in ceremony.indices:
        message = ceremony.decode(Round1, i, payloads[i])
        if len(message.commitment) != 32:
            raise ceremony.blame(i, "a hash commitment has 32 bytes", code="ceremony.malformed")
        try:
            ceremony_kem.check_key(message.kem_key)
        except CallerError:
            raise ceremony.blame(i, "ceremony key is not well formed", code="ceremony.malformed") from None
        messages[i] = message
    return messages


def read_round2(
    ceremony: Ceremony,
    round1: Mapping[int, bytes],
    firsts: Mapping[int, Round1],
    payloads: Mapping[int, bytes],
    *,
    own: int | None = None,
) -> dict[int, Round2]:
    """Decode and check everyone's second payload, but not the points of one's own; raises PeerError, AbortError."""
    ceremony.check_complete(payloads)
    echo = echo_of(ceremony, round1)
    return {
        i: ceremony.decode(Round2, i, payloads[i]) if i == own else _read_one(ceremony, echo, i, firsts[i], payloads[i])
        for i in ceremony.indices
    }


def _read_one(ceremony: Ceremony, echo: bytes, i: int, first: Round1, payload: bytes) -> Round2:
    group = ceremony.group
    message = ceremony.decode(Round2, i, payload)
    sizes = {len(sealed) for sealed in message.sealed.values()}
    if not ceremony.is_one_for_each_other(i, message.sealed) or not sizes <= {ceremony_kem.SEALED_BYTES}:
        raise ceremony.blame(i, "sealed shares are not one for each other participant", code="ceremony.malformed")
    if len(message.opening) != OPENING_BYTES:
        raise ceremony.blame(i, "an opening has 32 bytes", code="ceremony.malformed")
    if message.echo != echo:
        # Either the relay or somebody showed two participants different first payloads, or this one lies
        # about it: the message alone does not prove which.
        raise AbortError("participants saw different first payloads", code="ceremony.equivocation")
    if commit(ceremony, i, message.opening, message.commitments) != first.commitment:
        raise ceremony.blame(i, "commitments do not open the hash of round 1", code="commitment.invalid")
    if len(message.commitments) != ceremony.threshold or not pop.verify(
        group, message.commitments[0], proof_context(ceremony, echo, i), message.proof
    ):
        vss.check_commitments(group, message.commitments, ceremony.threshold, dealer=ceremony.slots[i])
        raise ceremony.blame(i, "proof of possession does not hold", code="proof.invalid")
    return message


def commit(ceremony: Ceremony, index: int, opening: bytes, commitments: Sequence[bytes]) -> bytes:
    """The 32-byte hash commitment of round 1."""
    parts = (ceremony.binding, index.to_bytes(4, "big"), opening, *commitments)
    return hashlib.sha256(tagged("dkg-commitment", *parts)).digest()


def echo_of(ceremony: Ceremony, round1: Mapping[int, bytes]) -> bytes:
    """Hash over everyone's first payload."""
    return ceremony.digest("dkg-echo", round1)


def proof_context(ceremony: Ceremony, echo: bytes, index: int) -> bytes:
    """What a proof of possession is bound to."""
    return tagged("dkg-proof", ceremony.binding, echo, index.to_bytes(4, "big"))


def share_context(ceremony: Ceremony, echo: bytes, sender: int, receiver: int) -> bytes:
    """Associated data of a sealed share: ceremony, round 1, sender, receiver, round."""
    ends = (sender.to_bytes(4, "big"), receiver.to_bytes(4, "big"), (2).to_bytes(4, "big"))
    return tagged("dkg-share", ceremony.binding, echo, *ends)
