"""The platform verifiers: one per kind of evidence, all with the same shape.

Rules: which verifier runs is told by the evidence's first bytes and confirmed by its parser; a
verifier records each of its steps in the trace and raises on the first that fails.  A new
platform is one class here and one line in `platform_verifiers`.
"""

from __future__ import annotations

from typing import Protocol

from attestation.amd.verify import verify_snp
from attestation.collateral import Collateral
from attestation.evidence import Claims, Tee
from attestation.intel.verify import STEPS as INTEL_STEPS
from attestation.intel.verify import IntelVerifier
from attestation.nitro.verify import verify_nitro
from attestation.roots import Roots
from attestation.verdict import Trace

Steps = tuple[tuple[str, str], ...]


class PlatformVerifier(Protocol):
    """Verifies one kind of evidence under fixed roots."""

    def __call__(self, evidence: bytes, *, collateral: Collateral, now: int, trace: Trace) -> Claims:
        """The claims of genuine evidence; raises AttestationError."""
        ...


class SnpVerifier:
    """SEV-SNP reports: certificates and revocation lists come from the collateral."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    def __call__(self, evidence: bytes, *, collateral: Collateral, now: int, trace: Trace) -> Claims:
        """The claims of a genuine report; raises AttestationError."""
        lists = [item.crl for item in collateral.crls]
        return verify_snp(evidence, collateral.certificates, lists, roots=self._roots, now=now, trace=trace)


class NitroVerifier:
    """Nitro documents: they carry their whole chain and need no collateral."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    def __call__(self, evidence: bytes, *, collateral: Collateral, now: int, trace: Trace) -> Claims:
        """The claims of a genuine document; raises AttestationError."""
        del collateral  # the document's own chain is all there is
        return verify_nitro(evidence, roots=self._roots, now=now, trace=trace)


def platform_verifiers(roots: Roots) -> dict[Tee, PlatformVerifier]:
    """A verifier for every kind of evidence; the two Intel kinds share one."""
    intel = IntelVerifier(roots)
    return {Tee.TDX: intel, Tee.SGX: intel, Tee.SEV_SNP: SnpVerifier(roots), Tee.NITRO: NitroVerifier(roots)}


SNP_STEPS: Steps = (
    ("1", "report format"),
    ("2", "signing key"),
    ("3", "certificate chain"),
    ("4", "product, chip and firmware level"),
    ("5", "report signature"),
    ("6", "consistency"),
)
NITRO_STEPS: Steps = (
    ("1", "document format"),
    ("2", "certificate chain"),
    ("3", "document time"),
    ("4", "document signature"),
)
STEPS: dict[Tee, Steps] = {
    Tee.TDX: INTEL_STEPS,
    Tee.SGX: INTEL_STEPS,
    Tee.SEV_SNP: SNP_STEPS,
    Tee.NITRO: NITRO_STEPS,
}
"""The verification steps of each platform, so that a verdict can list those never reached."""
