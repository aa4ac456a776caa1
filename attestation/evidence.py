"""What a verified piece of evidence says: the claims every platform is reduced to.

Rules: claims describe, they never judge (policy does); the evidence id covers the signed
region only, because every evidence format can be changed without breaking its signature;
an absent platform id is None, never zero.  Numbers and names: specs/attestation-verification.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attestation.errors import EvidenceError

if TYPE_CHECKING:
    from attestation.proof_of_cloud.platform_id import PlatformId


class Tee(StrEnum):
    """The kind of trusted execution environment that produced the evidence."""

    TDX = "tdx"
    SGX = "sgx"
    SEV_SNP = "sev-snp"
    NITRO = "nitro"


class TcbStatus(StrEnum):
    """How current the platform's firmware is, in the vendor's own words (Intel PCS API, TCB status)."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    TD_RELAUNCH_ADVISED = "TDRelaunchAdvised"
    TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED = "TDRelaunchAdvisedConfigurationNeeded"
    REVOKED = "Revoked"
    NOT_SUPPORTED = "TCBNotSupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Facts proven by one verified piece of evidence; byte strings in mappings are lower-case hex."""

    tee: Tee
    root: str
    """Which trust anchor vouches: "intel", "amd", "aws", "simulated" or "custom"."""
    evidence_id: str
    """SHA-256 (hex) of the signed region; equal for every malleated copy of one piece of evidence."""
    report_data: bytes
    """The 64 bytes the workload chose; empty on Nitro, whose fields are in `details`."""
    measurements: Mapping[str, str]
    """Register name to hex: mrtd, rtmr0.., mrseam / mrenclave, mrsigner / measurement, host_data / pcr0.."""
    tcb_status: TcbStatus | None = None
    advisories: tuple[str, ...] = ()
    tcb_evaluation: int | None = None
    """Intel tcbEvaluationDataNumber of the collateral that was used."""
    tcb_date: datetime | None = None
    """Date of the TCB level the platform is at (UTC)."""
    flags: Mapping[str, bool] = field(default_factory=dict)
    """Yes/no facts by name; the names and their meaning are listed in the specification."""
    platform_id: PlatformId | None = None
    valid_until: int
    """Unix seconds: the earliest expiry of anything this verification relied on."""
    signers: Mapping[str, str] = field(default_factory=dict)
    """Role (root, intermediate, leaf, attestation-key, tcb-signer ...) to SHA-256 hex of its public key."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able facts particular to the platform (fmspc, svn numbers, next_tcb_date, vmpl ...)."""


INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
"""QE vendor id of Intel's quoting enclave, at offset 12 of every quote header."""

_TEE_TYPE_TDX = 0x81
_QUOTE_HEADER_BYTES = 48
_SNP_VERSION_MAX = 0xFF


def detect(evidence: bytes) -> Tee:
    """Tell the platform from the first bytes alone; proves nothing, only picks the parser.

    Raises EvidenceError (`evidence.unknown-format`) if no supported format starts like this.
    """
    if evidence[:1] == b"\x84" or evidence[:2] == b"\xd2\x84":  # COSE_Sign1 array, optionally tagged 18
        return Tee.NITRO
    if len(evidence) >= _QUOTE_HEADER_BYTES:
        key_type = int.from_bytes(evidence[2:4], "little")
        if evidence[12:28] == INTEL_QE_VENDOR or key_type in (2, 3):
            return Tee.TDX if int.from_bytes(evidence[4:8], "little") == _TEE_TYPE_TDX else Tee.SGX
        if 0 < int.from_bytes(evidence[:4], "little") <= _SNP_VERSION_MAX:
            return Tee.SEV_SNP
    raise EvidenceError(
        "expected a TDX or SGX quote, an SEV-SNP report or a Nitro document",
        code="evidence.unknown-format",
        hint="pass the raw evidence bytes, not a hex or JSON wrapping of them",
    )
