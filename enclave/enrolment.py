"""The document by which one operator admits one boot of a slot: a machine back from repair, a disk replaced.

Rules kept (specs/enrolment.md): it names exactly one identity key and boot counter; it lets in nothing that the
roster does not admit to the slot, since evidence is judged as always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attestation.envelope import b64url
from enclave.fields import Fields

BOOTS_MAX = 1 << 53
"""Largest boot counter that can be stated: JSON integers end there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """One identity that counts as its slot's next boot."""

    cluster: bytes
    slot: str
    identity_key: bytes
    """Ed25519 public key of the boot, as its evidence binds it."""
    boot_counter: int
    sequence: int
    issued_at: int
    digest: bytes = b""

    kind = "enrol"
    restricts = False

    @property
    def subject(self) -> str:
        """What the document is about: the slot."""
        return self.slot

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        return {
            "type": "holdfast/enrol/v1",
            "cluster": self.cluster.hex(),
            "slot": self.slot,
            "identity_key": b64url(self.identity_key),
            "boot_counter": self.boot_counter,
            "sequence": self.sequence,
            "issued_at": self.issued_at,
        }


def read_enrolment(fields: Fields, digest: bytes) -> Enrolment:
    """The payload of an enrolment; raises the reader's error."""
    fields.constant("type", "holdfast/enrol/v1")
    enrolment = Enrolment(
        cluster=fields.hexadecimal("cluster", size=32),
        slot=fields.label("slot"),
        identity_key=fields.base64("identity_key", size=32),
        boot_counter=fields.integer("boot_counter", 1, BOOTS_MAX - 1),
        sequence=fields.integer("sequence", 1),
        issued_at=fields.integer("issued_at"),
        digest=digest,
    )
    fields.done()
    return enrolment
