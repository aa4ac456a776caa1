"""What binds a signing key to a machine: the evidence a node presented, judged as of a time.

The same checks as nodes make of a presentation (specs/evidence-binding.md section 3), but for the verifier's own nonce:
in its place stands the nonce of the node that relied on it, as its log says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attestation.collateral import Collateral
from attestation.errors import ReceiptError
from attestation.evidence import Claims, Tee
from attestation.merkle import leaf_hash, tree_root
from attestation.proof_of_cloud.policy import ProofOfCloudPolicy, check_platform
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.receipts.encoding import tagged, u64
from attestation.receipts.reading import blob, hexadecimal, integer, items, members, words
from attestation.receipts.roster import RosterFacts, Slot
from attestation.verdict import Outcome
from attestation.verifier import Verifier

NONCES_MAX = 256

_MEMBERS = (
    "slot",
    "boot_counter",
    "identity_key",
    "kem_key",
    "tls_spki",
    "roster_digest",
    "purpose",
    "nonces",
    "evidence",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A presentation: identity of one boot, the nonces it answers, the evidence."""

    slot: str
    boot_counter: int
    identity_key: bytes
    kem_key: bytes
    tls_spki: bytes
    roster_digest: bytes
    purpose: str
    nonces: tuple[bytes, ...]
    evidence: bytes

    @classmethod
    def from_json(cls, value: Any) -> Presented:
        """Read strictly; raises ReceiptError."""
        fields = members(value, _MEMBERS)
        return cls(
            slot=words(fields["slot"], "slot", 63),
            boot_counter=integer(fields["boot_counter"], "boot_counter", 1),
            identity_key=hexadecimal(fields["identity_key"], "identity_key"),
            kem_key=blob(fields["kem_key"], "kem_key", size_max=4096),
            tls_spki=hexadecimal(fields["tls_spki"], "tls_spki"),
            roster_digest=hexadecimal(fields["roster_digest"], "roster_digest"),
            purpose=words(fields["purpose"], "purpose", 32),
            nonces=tuple(
                hexadecimal(item, "nonces") for item in items(fields["nonces"], "nonces", low=1, high=NONCES_MAX)
            ),
            evidence=blob(fields["evidence"], "evidence", size_max=1 << 20),
        )

    @property
    def evidence_digest(self) -> bytes:
        """How verdict entries name it."""
        return hashlib.sha256(self.evidence).digest()

    def report_data(self, cluster: bytes) -> bytes:
        """The 64 bytes the evidence has to carry (specs/evidence-binding.md section 2)."""
        message = tagged(
            "evidence",
            cluster,
            self.slot.encode(),
            u64(self.boot_counter),
            self.identity_key,
            self.kem_key,
            self.tls_spki,
            self.roster_digest,
            self.purpose.encode(),
            tree_root([leaf_hash(nonce) for nonce in self.nonces]),
        )
        return hashlib.sha512(message).digest()


def check_presented(
    presented: Presented,
    *,
    rosters: Mapping[bytes, RosterFacts],
    verifier: Verifier,
    collateral: Collateral,
    snapshot: RegistrySnapshot,
    at: int,
) -> Claims:
    """The claims of a machine that was what its roster asked, as of `at` (Unix seconds).

    Raises ReceiptError (`receipt.identity`), or what the verifier, the appraisal policy or the registry object to.
    """
    roster = rosters.get(presented.roster_digest)
    if roster is None:
        raise _refused("it ran under a roster that is not in the receipt's chain")
    slot = roster.slot(presented.slot)
    if slot is None or presented.purpose != "serve":
        raise _refused("its roster has no such slot, or it served another purpose")
    claims = verifier.verify(presented.evidence, collateral=collateral, now=at)
    if claims.report_data != presented.report_data(roster.cluster):
        raise _refused("the evidence was made for another identity or other nonces")
    _check_machine(claims, slot, roster, at)
    snapshot.verify(roster.members, roster.threshold, roster.freshness_key, at, roster.max_age_s)
    policy = ProofOfCloudPolicy(
        level_min=roster.level,
        max_age_s=roster.max_age_s,
        providers=frozenset({slot.provider} - {""}),
        regions=frozenset({slot.region} - {""}),
    )
    check_platform(snapshot, claims.platform_id, policy=policy, now=at)
    return claims


def _check_machine(claims: Claims, slot: Slot, roster: RosterFacts, at: int) -> None:
    for step in roster.appraisal.appraise(claims, at):
        if step.result is Outcome.FAIL:
            raise ReceiptError(step.reason or "the appraisal policy refuses it", code=step.code or "receipt.identity")
    for register, allowed in slot.measurements.items():
        if claims.measurements.get(register) not in allowed:
            raise _refused(f"register {register} does not hold a value the roster allows")
    register, value = (
        ("host_data", roster.cluster) if claims.tee is Tee.SEV_SNP else ("mrconfigid", roster.cluster + bytes(16))
    )
    if claims.measurements.get(register) != value.hex():
        raise _refused(f"register {register} does not hold the cluster's id")
    if claims.platform_id is None or claims.platform_id.commitment != slot.platform:
        raise _refused("it is not the machine the roster commits to for the slot")


def _refused(detail: str) -> ReceiptError:
    return ReceiptError(detail, code="receipt.identity")
