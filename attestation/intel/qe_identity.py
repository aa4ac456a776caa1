"""Enclave identity: which quoting enclave may have signed, and how current it is (PCS API v4, version 2 shape).

Rules: `TD_QE` for TDX, `QE` for SGX, never the other; masks are applied to both sides; an
identity that does not match is a refusal, an ISVSVN below every level is "not supported".
"""

from __future__ import annotations

from dataclasses import dataclass

from attestation.errors import CollateralError, EvidenceError
from attestation.evidence import Tee
from attestation.intel import signed_json
from attestation.intel.body import EnclaveReport
from attestation.intel.signed_json import SvnLevel
from attestation.intel.tcb_info import check_dates

IDENTITY_OF = {Tee.TDX: "TD_QE", Tee.SGX: "QE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QeIdentity:
    """One parsed enclave identity; `levels` run from the highest ISVSVN to the lowest."""

    name: str
    version: int
    issued: int
    next_update: int
    evaluation: int
    miscselect: bytes
    miscselect_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mrsigner: bytes
    isvprodid: int
    levels: tuple[SvnLevel, ...]


def parse_qe_identity(body: bytes) -> QeIdentity:
    """Read the exact signed bytes of an `enclaveIdentity` value; raises CollateralError (`collateral.malformed`)."""
    value = signed_json.parse_document(body)
    version = signed_json.integer(value, "version", maximum=0xFFFF)
    if version != 2:
        raise signed_json.malformed(f"expected enclave identity version 2, found {version}")
    return QeIdentity(
        name=signed_json.text(value, "id"),
        version=version,
        issued=signed_json.instant(value, "issueDate"),
        next_update=signed_json.instant(value, "nextUpdate"),
        evaluation=signed_json.integer(value, "tcbEvaluationDataNumber", maximum=0xFFFFFFFF),
        miscselect=signed_json.hexadecimal(value, "miscselect", 4),
        miscselect_mask=signed_json.hexadecimal(value, "miscselectMask", 4),
        attributes=signed_json.hexadecimal(value, "attributes", 16),
        attributes_mask=signed_json.hexadecimal(value, "attributesMask", 16),
        mrsigner=signed_json.hexadecimal(value, "mrsigner", 32),
        isvprodid=signed_json.integer(value, "isvprodid", maximum=0xFFFF),
        levels=signed_json.svn_levels(value),
    )


def check_applies(identity: QeIdentity, *, tee: Tee, now: int) -> None:
    """Raise unless this identity is the one for `tee` and current at `now`.

    CollateralError `collateral.mismatch`; CollateralMissingError `collateral.expired` or `.not-yet-valid`.
    """
    if identity.name != IDENTITY_OF[tee]:
        raise CollateralError(
            f"expected enclave identity {IDENTITY_OF[tee]}, found {identity.name[:16]!r}", code="collateral.mismatch"
        )
    check_dates("enclave identity", identity.issued, identity.next_update, now)


def match_report(identity: QeIdentity, report: EnclaveReport) -> SvnLevel | None:
    """The level the quoting enclave reaches, None if below all.

    Raises EvidenceError (`evidence.quoting-enclave`) if it is another enclave or runs with forbidden attributes.
    """
    # MISCSELECT is little-endian in the report, big-endian hex digits in the document.
    if not _equal_under(identity.miscselect_mask, report.miscselect[::-1], identity.miscselect):
        raise _other("MISCSELECT")
    if not _equal_under(identity.attributes_mask, report.attributes, identity.attributes):
        raise _other("ATTRIBUTES")
    if report.mrsigner != identity.mrsigner:
        raise _other("MRSIGNER")
    if report.isvprodid != identity.isvprodid:
        raise _other("ISVPRODID")
    return signed_json.first_reached(identity.levels, report.isvsvn)


def _equal_under(mask: bytes, found: bytes, expected: bytes) -> bool:
    return all((a ^ b) & m == 0 for a, b, m in zip(found, expected, mask, strict=True))


def _other(field: str) -> EvidenceError:
    return EvidenceError(f"quoting enclave {field} is not what its identity says", code="evidence.quoting-enclave")
