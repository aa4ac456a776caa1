"""The platform verifiers: one per kind of evidence, all with the same shape.

Rules: which verifier runs is told by the evidence's first bytes and confirmed by its parser; a
verifier records each of its steps in the trace and raises on the first that fails.  A new
platform is one class here and one line in `platform_verifiers`.
"""

from __future__ import annotations

from typing import Protocol

from attestation.amd.verify import STEPS as SNP_STEPS
from attestation.amd.verify import SnpVerifier
from attestation.collateral import Collateral
from attestation.evidence import Claims, Tee
from attestation.intel.verify import STEPS as INTEL_STEPS
from attestation.intel.verify import IntelVerifier
from attestation.nitro.verify import STEPS as NITRO_STEPS
from attestation.nitro.verify import NitroVerifier
from attestation.roots import Roots
from attestation.verdict import Trace

Steps = tuple[tuple[str, str], ...]


class PlatformVerifier(Protocol):
    """Verifies one kind of evidence under fixed roots."""

    def __call__(self, evidence: bytes, *, collateral: Collateral, now: int, trace: Trace) -> Claims:
        """The claims of genuine evidence; raises AttestationError."""
        ...


def platform_verifiers(roots: Roots) -> dict[Tee, PlatformVerifier]:
    """A verifier for every kind of evidence; the two Intel kinds share one."""
    intel = IntelVerifier(roots)
    return {Tee.TDX: intel, Tee.SGX: intel, Tee.SEV_SNP: SnpVerifier(roots), Tee.NITRO: NitroVerifier(roots)}


STEPS: dict[Tee, Steps] = {
    Tee.TDX: INTEL_STEPS,
    Tee.SGX: INTEL_STEPS,
    Tee.SEV_SNP: SNP_STEPS,
    Tee.NITRO: NITRO_STEPS,
}
"""The verification steps of each platform, so that a verdict can list those never reached."""
