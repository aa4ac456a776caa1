"""An operator's word that, after everything was restarted, the disks are the newest: where each slot stood.

Rules kept (specs/rollback.md section 5): signed as the roster says for `cold-start`; for one cluster and
incarnation; it names every slot's counter and digest, so it fits one moment of the cluster's life only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attestation.envelope import Envelope
from attestation.errors import CodedError, DocumentError
from enclave.errors import RefusedError
from enclave.fields import Fields
from enclave.roster import Role, Roster
from enclave.roster_slots import SLOTS_MAX

PAYLOAD_TYPE = "application/vnd.holdfast.cold-start+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """Where every slot stood."""

    cluster: bytes
    incarnation: int
    counters: Mapping[str, tuple[int, bytes]]
    """Slot -> counter and digest of its newest statement; 0 and zeros for a slot that never advanced."""

    def envelope(self) -> Envelope:
        """The unsigned document."""
        return Envelope.of(
            PAYLOAD_TYPE,
            {
                "type": "holdfast/cold-start/v1",
                "cluster": self.cluster.hex(),
                "incarnation": self.incarnation,
                "counters": [
                    {"slot": slot, "counter": counter, "digest": digest.hex()}
                    for slot, (counter, digest) in sorted(self.counters.items())
                ],
            },
        )


def parse_cold_start(data: bytes, roster: Roster) -> ColdStart:
    """Read and verify.

    Raises DocumentError (`cold-start.malformed`, `document.cluster`, envelope codes), RefusedError
    (`document.quorum`, `cold-start.incarnation`).
    """
    signed = Envelope.parse(data)
    if signed.payload_type != PAYLOAD_TYPE:
        raise DocumentError(f"expected {PAYLOAD_TYPE}", code="envelope.type")
    fields = Fields(signed.value(), where="", error=_malformed)
    fields.constant("type", "holdfast/cold-start/v1")
    cluster = fields.hexadecimal("cluster", size=32)
    incarnation = fields.integer("incarnation", 1)
    counters: dict[str, tuple[int, bytes]] = {}
    for item in fields.each("counters", low=1, high=SLOTS_MAX):
        slot = item.label("slot")
        if slot in counters:
            item.refuse("expected each slot once", "slot")
        counters[slot] = (item.integer("counter"), item.hexadecimal("digest", size=32))
        item.done()
    fields.done()
    if cluster != roster.cluster_id:
        raise DocumentError("document is for another cluster", code="document.cluster")
    found = len(signed.signers(entry.key for entry in roster.holders(Role.ADMIN)))
    needed = roster.quorum_for("cold-start")
    if found < needed:
        raise RefusedError(f"expected {needed} signatures of role admin, found {found}", code="document.quorum")
    if incarnation != roster.incarnation:
        raise RefusedError(
            f"expected incarnation {roster.incarnation}, found {incarnation}", code="cold-start.incarnation"
        )
    return ColdStart(cluster=cluster, incarnation=incarnation, counters=counters)


def _malformed(detail: str) -> CodedError:
    return DocumentError(detail, code="cold-start.malformed")
