"""What all participants of a ceremony must agree on before anything secret moves: its facts, hashed into all it makes.

Rules kept (specs/ceremonies.md section 3): order, roster, source certificates and the attested boots and identity
keys of all participants are covered; two sessions never have the same context.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from enclave.wire.attestation import Identity
from enclave.wire.message import tagged


class Kind(StrEnum):
    """What a ceremony does."""

    DKG = "dkg"
    REFRESH = "refresh"
    RESHARE = "reshare"
    ROTATE = "rotate"
    REPAIR = "repair"


class Member(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A participant as attested when the session started."""

    slot: str
    boot_counter: int
    identity_key: bytes

    @classmethod
    def of(cls, identity: Identity) -> Member:
        """From what evidence binds."""
        return cls(identity.slot, identity.boot_counter, identity.identity_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The public facts of one session."""

    kind: Kind
    session: bytes
    cluster: bytes
    roster_digest: bytes
    order: bytes
    """Digest of the order, 32 bytes."""
    members: tuple[Member, ...]
    """In roster order."""
    terms: bytes
    """What the kind of ceremony is about to make, and who has which part: GenerationTerms or Committee, encoded."""
    sources: tuple[bytes, ...] = ()
    """Bodies of the certificates it starts from."""
    context: bytes = field(init=False)
    """32 bytes that differ whenever anything above differs."""

    def __post_init__(self) -> None:
        parts = [self.kind.encode(), self.session, self.cluster, self.roster_digest, self.order, self.terms]
        parts.append(len(self.members).to_bytes(4, "big"))
        for member in self.members:
            parts += [member.slot.encode(), member.boot_counter.to_bytes(8, "big"), member.identity_key]
        parts += [hashlib.sha256(body).digest() for body in self.sources]
        object.__setattr__(self, "context", hashlib.sha256(tagged("ceremony-context", *parts)).digest())

    @property
    def slots(self) -> tuple[str, ...]:
        """Participants in roster order."""
        return tuple(member.slot for member in self.members)

    def transcript(self, inner: bytes, times: Mapping[str, int]) -> bytes:
        """The hash that certificates name: what the rounds said, under these facts."""
        clocks = (times[slot].to_bytes(8, "big") for slot in self.slots)
        return hashlib.sha256(tagged("ceremony-transcript", inner, self.context, *clocks)).digest()


def statement_of(session: bytes, transcript: bytes, bodies: Sequence[bytes]) -> bytes:
    """What every participant signs as its prepare: transcript and every certificate that follows from it."""
    digests = (hashlib.sha256(body).digest() for body in bodies)
    return hashlib.sha256(tagged("ceremony-prepared", session, transcript, *digests)).digest()
