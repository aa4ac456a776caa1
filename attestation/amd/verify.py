"""Verification of SEV-SNP reports, step by step (specs/attestation-verification.md, part SNP).

1 parse the report strictly · 2 find the signing key's certificate · 3 walk its chain to the pinned AMD root ·
4 product, chip and firmware level of certificate and report agree · 5 verify the report's signature ·
6 the report is consistent in itself.

Rules: where several certificates fit, steps 3 to 5 run for each until one passes; a verified
chain is remembered under the whole collateral set and its leaf, inside its own validity.
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from attestation.amd.chain import SnpChain, fitting_leaves, most_telling, verify_chain
from attestation.amd.leaf import SnpLeaf
from attestation.amd.report import VMPL_HOST, SnpReport, TcbVersion
from attestation.cache import WindowCache
from attestation.collateral import Collateral
from attestation.errors import AttestationError, EvidenceError
from attestation.evidence import Claims, Tee
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.roots import Roots
from attestation.verdict import Trace
from attestation.x509 import PublicKey

STEPS = (
    ("1", "report format"),
    ("2", "signing key"),
    ("3", "certificate chain"),
    ("4", "product, chip and firmware level"),
    ("5", "report signature"),
    ("6", "consistency"),
)
"""Every step in order: a verdict lists those not reached as skipped."""

_NAMES = dict(STEPS)

POLICY_SMT, POLICY_ALWAYS_ONE, POLICY_MIGRATE_MA, POLICY_DEBUG, POLICY_SINGLE_SOCKET = 16, 17, 18, 19, 20
POLICY_RAPL_DISABLED, POLICY_CIPHERTEXT_HIDING = 23, 24
POLICY_RESERVED = ~((1 << 26) - 1)
"""Bits 63:26 must be zero (AMD 56860, table GUEST_POLICY)."""

PLATFORM_SMT, PLATFORM_TSME, PLATFORM_ECC, PLATFORM_RAPL_DISABLED = 0, 1, 2, 3
PLATFORM_CIPHERTEXT_HIDING, PLATFORM_ALIAS_CHECK, PLATFORM_TIO = 4, 5, 7

_SHA384 = ec.ECDSA(hashes.SHA384())


class SnpVerifier:
    """Verifies reports under fixed roots; certificates and revocation lists come from the collateral."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._leaves: WindowCache[tuple[SnpLeaf, ...]] = WindowCache()
        self._chains: WindowCache[SnpChain] = WindowCache()

    def __call__(self, evidence: bytes, *, collateral: Collateral, now: int, trace: Trace) -> Claims:
        """Claims of one report at Unix time `now`; raises AttestationError, after recording the failed step."""
        with trace.step("1", _NAMES["1"]):
            report = SnpReport.parse(evidence)
        with trace.step("2", _NAMES["2"]):
            leaves = self._fitting(report, collateral)
        chain = self._first_that_verifies(report, leaves, collateral, now, trace)
        with trace.step("6", _NAMES["6"]):
            check_consistency(report, chain.product)
        return _claims(report, chain)

    def _fitting(self, report: SnpReport, collateral: Collateral) -> tuple[SnpLeaf, ...]:
        # Everything the choice reads; it does not depend on time.
        key = (collateral.digest, report.signing_key, report.chip_id, report.reported_tcb)
        leaves = self._leaves.get(key, 0)
        if leaves is None:
            leaves = fitting_leaves(report, collateral.certificates)
            self._leaves.put(key, leaves, valid_from=0, valid_until=0)
        return leaves

    def _first_that_verifies(
        self, report: SnpReport, leaves: tuple[SnpLeaf, ...], collateral: Collateral, now: int, trace: Trace
    ) -> SnpChain:
        """Steps 3 to 5 for each leaf; the trace keeps the steps of the one that passes, else that got furthest."""
        attempts: list[tuple[Trace, AttestationError]] = []
        for leaf in leaves:
            attempt = Trace()
            try:
                chain = self._verify_leaf(report, leaf, collateral, now, attempt)
            except AttestationError as error:
                attempts.append((attempt, error))
                continue
            trace.steps.extend(attempt.steps)
            return chain
        furthest = max(len(attempt.steps) for attempt, _ in attempts)
        told = most_telling([raised for attempt, raised in attempts if len(attempt.steps) == furthest])
        trace.steps.extend(next(attempt for attempt, raised in attempts if raised is told).steps)
        raise told

    def _verify_leaf(
        self, report: SnpReport, leaf: SnpLeaf, collateral: Collateral, now: int, trace: Trace
    ) -> SnpChain:
        with trace.step("3", _NAMES["3"]):
            chain = self._chain(leaf, collateral, now)
        with trace.step("4", _NAMES["4"]):
            check_binding(report, chain)
        with trace.step("5", _NAMES["5"]):
            check_signature(report, chain.leaf_key)
        return chain

    def _chain(self, leaf: SnpLeaf, collateral: Collateral, now: int) -> SnpChain:
        key = (collateral.digest, leaf.certificate.der)
        chain = self._chains.get(key, now)
        if chain is None:
            lists = [item.crl for item in collateral.crls]
            chain = verify_chain(leaf, collateral.certificates, lists, roots=self._roots, now=now)
            if chain.sole:
                self._chains.put(key, chain, valid_from=chain.valid_from, valid_until=chain.valid_until)
        return chain


def check_binding(report: SnpReport, chain: SnpChain) -> None:
    """Report and certificate speak of the same product, chip and firmware level (`snp.product|chip-id|tcb`)."""
    leaf = chain.leaf
    if report.product not in (None, chain.product):
        raise EvidenceError(f"a {report.product} report under the {chain.product} root", code="snp.product")
    if report.product is None and chain.product == "Turin":
        raise EvidenceError("Turin never wrote version 2 reports", code="snp.product")
    if leaf.hardware_id is not None and any(report.chip_id):
        size = len(leaf.hardware_id)
        if report.chip_id[:size] != leaf.hardware_id or any(report.chip_id[size:]):
            raise EvidenceError("the certificate is for another chip", code="snp.chip-id")
    elif leaf.hardware_id is not None and not report.chip_masked:
        raise EvidenceError("the chip id is absent though nothing masks it", code="snp.chip-id")
    if leaf.tcb != TcbVersion.parse(report.reported_tcb, chain.product):
        raise EvidenceError("the certificate is for another firmware level than the reported one", code="snp.tcb")


def check_signature(report: SnpReport, key: PublicKey) -> None:
    """ECDSA P-384 with SHA-384 over bytes 0 to 0x2A0; raises EvidenceError (`snp.signature`)."""
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size != 384:
        raise EvidenceError("expected a P-384 signing key", code="snp.signature")
    try:
        key.verify(encode_dss_signature(*report.signature), report.signed_region, _SHA384)
    except (InvalidSignature, ValueError):
        raise EvidenceError("the report is not signed by this key", code="snp.signature") from None


def check_consistency(report: SnpReport, product: str) -> None:
    """Relations every genuine report satisfies; raises EvidenceError (`snp.policy`, `snp.inconsistent`, `snp.vmpl`)."""
    if not _bit(report.policy, POLICY_ALWAYS_ONE) or report.policy & POLICY_RESERVED:
        raise EvidenceError("guest policy has reserved bits wrong", code="snp.policy")
    if (report.policy >> 8 & 0xFF, report.policy & 0xFF) > report.firmware[:2]:
        raise EvidenceError("guest policy demands newer firmware than the platform runs", code="snp.policy")
    if report.vmpl == VMPL_HOST or report.vmpl > 3:
        raise EvidenceError("the report was not requested by the guest", code="snp.vmpl")
    for platform, policy, needs in (
        (PLATFORM_SMT, POLICY_SMT, "platform"),
        (PLATFORM_RAPL_DISABLED, POLICY_RAPL_DISABLED, "policy"),
        (PLATFORM_CIPHERTEXT_HIDING, POLICY_CIPHERTEXT_HIDING, "policy"),
    ):
        has, allows = _bit(report.platform_info, platform), _bit(report.policy, policy)
        if (has and not allows) if needs == "platform" else (allows and not has):
            raise EvidenceError("guest policy and platform information contradict", code="snp.inconsistent")
    current = TcbVersion.parse(report.current_tcb, product)
    for name, other in (("committed", report.committed_tcb), ("reported", report.reported_tcb)):
        if not current.at_least(TcbVersion.parse(other, product)):
            raise EvidenceError(f"{name} firmware level above the current one", code="snp.inconsistent")


def _claims(report: SnpReport, chain: SnpChain) -> Claims:
    leaf, product = chain.leaf, chain.product
    levels = ("current", "reported", "committed", "launch")
    fields = (report.current_tcb, report.reported_tcb, report.committed_tcb, report.launch_tcb)
    tcb = {name: TcbVersion.parse(field, product).to_json() for name, field in zip(levels, fields, strict=True)}
    details: dict[str, Any] = {
        "report_version": report.version,
        "product": product,
        "signing_key": leaf.kind,
        "vmpl": report.vmpl,
        "guest_svn": report.guest_svn,
        "policy": f"{report.policy:#x}",
        "platform_info": f"{report.platform_info:#x}",
        "firmware": ".".join(str(part) for part in report.firmware),
        "tcb": tcb,
    }
    if leaf.provider is not None:
        details["provider"] = leaf.provider
    return Claims(
        tee=Tee.SEV_SNP,
        root=chain.anchor.label,
        evidence_id=report.evidence_id,
        report_data=report.report_data,
        measurements={
            "measurement": report.measurement.hex(),
            "host_data": report.host_data.hex(),
            "family_id": report.family_id.hex(),
            "image_id": report.image_id.hex(),
            "id_key_digest": report.id_key_digest.hex(),
            "author_key_digest": report.author_key_digest.hex(),
            "report_id": report.report_id.hex(),
        },
        flags=_flags(report),
        platform_id=None if report.chip_masked or leaf.kind == "vlek" else PlatformId.amd_chip_id(report.chip_id),
        valid_until=chain.valid_until,
        signers={
            "root": chain.root.spki_sha256,
            "intermediate": chain.intermediate.spki_sha256,
            "leaf": leaf.certificate.spki_sha256,
        },
        details=details,
    )


def _flags(report: SnpReport) -> dict[str, bool]:
    policy, platform = report.policy, report.platform_info
    return {
        "debug": _bit(policy, POLICY_DEBUG),
        "migratable": _bit(policy, POLICY_MIGRATE_MA),
        "single_socket": _bit(policy, POLICY_SINGLE_SOCKET),
        "smt": _bit(platform, PLATFORM_SMT),
        "smt_allowed": _bit(policy, POLICY_SMT),
        "tsme": _bit(platform, PLATFORM_TSME),
        "ecc": _bit(platform, PLATFORM_ECC),
        "rapl_disabled": _bit(platform, PLATFORM_RAPL_DISABLED),
        "ciphertext_hiding": _bit(platform, PLATFORM_CIPHERTEXT_HIDING),
        "alias_check": _bit(platform, PLATFORM_ALIAS_CHECK),
        "chip_id_masked": report.chip_masked,
    }


def _bit(value: int, number: int) -> bool:
    return bool(value >> number & 1)
