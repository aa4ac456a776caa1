"""The operators' order to restore: which bundle of which slot, into which incarnation (specs/backup.md section 6).

Rules kept: it counts under the roster's quorum for `restore`; it names bundles by digest, so nobody can slip in an
older one; it is for one roster version, whose incarnation is later than every bundle's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from attestation.errors import CodedError, DocumentError
from enclave.errors import BackupError, RefusedError
from enclave.fields import Fields
from enclave.roster import Role, Roster
from enclave.roster_slots import SLOTS_MAX
from enclave.signing_key import SigningKey

PAYLOAD_TYPE = "application/vnd.holdfast.restore-order+json"

LIFETIME_S_MAX = 7 * 86_400
"""Longest validity in seconds: custodians travel."""

FUTURE_S_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrder:
    """What operators want restored."""

    cluster: bytes
    roster: bytes
    """Digest of the version that begins the new incarnation."""
    incarnation: int
    bundles: Mapping[str, bytes]
    """Slot -> digest of its bundle."""
    issued_at: int
    expires_at: int

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        return {
            "type": "holdfast/restore-order/v1",
            "cluster": self.cluster.hex(),
            "roster": self.roster.hex(),
            "incarnation": self.incarnation,
            "bundles": [{"slot": slot, "digest": digest.hex()} for slot, digest in sorted(self.bundles.items())],
            "issued_at": self.issued_at,
            "expires_at": self.expires_at,
        }

    def sign(self, *signers: SigningKey) -> bytes:
        """The signed envelope."""
        envelope = Envelope.of(PAYLOAD_TYPE, self.payload())
        for signer in signers:
            envelope = envelope.signed(signer.ed25519)
        return canonical_json(envelope.to_json())


def read_restore_order(data: bytes) -> tuple[RestoreOrder, Envelope]:
    """An order, whoever signed it; raises DocumentError (`restore.order`, envelope codes)."""
    signed = Envelope.parse(data)
    if signed.payload_type != PAYLOAD_TYPE:
        raise DocumentError(f"expected {PAYLOAD_TYPE}", code="envelope.type")
    fields = Fields(signed.value(), where="", error=_malformed)
    fields.constant("type", "holdfast/restore-order/v1")
    bundles: dict[str, bytes] = {}
    for item in fields.each("bundles", low=1, high=SLOTS_MAX):
        slot = item.label("slot")
        if slot in bundles:
            item.refuse("expected each slot once", "slot")
        bundles[slot] = item.hexadecimal("digest", size=32)
        item.done()
    order = RestoreOrder(
        cluster=fields.hexadecimal("cluster", size=32),
        roster=fields.hexadecimal("roster", size=32),
        incarnation=fields.integer("incarnation", 2),
        bundles=bundles,
        issued_at=fields.integer("issued_at"),
        expires_at=fields.integer("expires_at"),
    )
    fields.done()
    return order, signed


def verify_restore_order(data: bytes, roster: Roster, now: int) -> RestoreOrder:
    """The order, once the quorum signed it for this very roster.

    Raises DocumentError (`restore.order`, envelope codes), BackupError (`restore.cluster`, `restore.roster`),
    RefusedError (`restore.quorum`, `restore.expired`).
    """
    order, signed = read_restore_order(data)
    if order.cluster != roster.cluster_id:
        raise BackupError("the order is for another cluster", code="restore.cluster")
    found = len(signed.signers(entry.key for entry in roster.holders(Role.ADMIN)))
    needed = roster.quorum_for("restore")
    if found < needed:
        raise RefusedError(
            f"expected signatures of {needed} administrators for a restore, found {found}",
            code="restore.quorum",
            hint="each signs with `kms backup order --cosign`",
        )
    if (order.roster, order.incarnation) != (roster.digest, roster.incarnation):
        raise BackupError(
            "the order is for another roster version than the newest one configured",
            code="restore.roster",
            hint="give the process the whole roster chain, up to the new incarnation",
        )
    if not order.issued_at - FUTURE_S_MAX <= now < order.expires_at <= order.issued_at + LIFETIME_S_MAX:
        raise RefusedError("the order is not valid now", code="restore.expired", hint="sign a fresh one")
    return order


def _malformed(detail: str) -> CodedError:
    return DocumentError(detail, code="restore.order")
