"""Intel quotes: version 3 (SGX), 4 and 5 (TDX), parsed to the last byte.

Rules: every length must be consumed exactly; a tail of zero bytes (the padding of fixed-size
quote buffers) is cut off, any other trailing byte refuses the quote; only certification data
type 5 (the PCK chain), inside type 6 for versions 4 and 5.  The signed region is everything up
to the end of the body, and its SHA-256 names the evidence.
Layouts: Intel TDX DCAP Quoting Library API rev 1.5, appendix A; SGX ECDSA quote library appendix A.4.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from attestation.errors import EvidenceError
from attestation.evidence import INTEL_QE_VENDOR, Tee
from attestation.intel.body import (
    ENCLAVE_REPORT_BYTES,
    TD_REPORT_10_BYTES,
    TD_REPORT_15_BYTES,
    EnclaveReport,
    TdReport,
    parse_enclave_report,
    parse_td_report,
)
from attestation.limits import PEM_CHAIN_BYTES_MAX, QE_AUTH_BYTES_MAX, QUOTE_BYTES_MAX

HEADER_BYTES = 48
SIGNATURE_BYTES = 64
KEY_BYTES = 64

_HEADER = struct.Struct("<HHIHH16s20s")
_U16_U32 = struct.Struct("<HI")
_U32 = struct.Struct("<I")
_U16 = struct.Struct("<H")

_ECDSA_P256 = 2
_TEE_SGX, _TEE_TDX = 0x00000000, 0x00000081
_BODY_SGX, _BODY_TD_10, _BODY_TD_15 = 1, 2, 3
_TYPE_PCK_CHAIN, _TYPE_QE_REPORT = 5, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One parsed quote; nothing about it is verified yet."""

    version: int
    tee: Tee
    qe_id: bytes
    """First 16 bytes of the header's user data: names the quoting enclave instance, locally to the platform."""
    signed: bytes
    """The bytes the attestation key signs: from the first byte to the end of the body."""
    body: TdReport | EnclaveReport
    signature: bytes
    attestation_key: bytes
    """Raw P-256 point, x || y."""
    qe_report_bytes: bytes
    qe_report: EnclaveReport
    qe_report_signature: bytes
    qe_auth: bytes
    pck_chain: bytes
    """PEM text as found."""

    @property
    def evidence_id(self) -> str:
        """SHA-256 (hex) of the signed region."""
        return hashlib.sha256(self.signed).hexdigest()


def parse_quote(evidence: bytes) -> Quote:
    """Read one quote; raises EvidenceError (`evidence.malformed`, `evidence.unsupported`, `evidence.trailing`)."""
    if len(evidence) > QUOTE_BYTES_MAX:
        raise _malformed(f"expected a quote of at most {QUOTE_BYTES_MAX} bytes, found {len(evidence)}")
    if len(evidence) < HEADER_BYTES + _U32.size:
        raise _malformed(f"expected at least a quote header, found {len(evidence)} bytes")
    version, key_type, tee_type, _, _, vendor, user_data = _HEADER.unpack_from(evidence)
    if vendor != INTEL_QE_VENDOR:
        raise _unsupported("quoting enclave vendor is not Intel")
    if key_type != _ECDSA_P256:
        raise _unsupported(f"expected attestation key type 2 (ECDSA P-256), found {key_type}")
    tee, body_start, body_bytes = _shape(evidence, version, tee_type)
    body_end = body_start + body_bytes
    if len(evidence) < body_end + _U32.size:
        raise _malformed("quote ends inside its body")
    (length,) = _U32.unpack_from(evidence, body_end)
    start = body_end + _U32.size
    if length > len(evidence) - start:
        raise _malformed(f"expected {length} bytes of signature data, found {len(evidence) - start}")
    if any(evidence[start + length :]):
        raise EvidenceError("bytes other than zero padding follow the quote", code="evidence.trailing")
    body = evidence[body_start:body_end]
    data = _Cursor(evidence[start : start + length])
    signature, key = data.take(SIGNATURE_BYTES), data.take(KEY_BYTES)
    inner = data if version == 3 else _Cursor(data.certification_data(_TYPE_QE_REPORT, length))
    qe_report, qe_signature = inner.take(ENCLAVE_REPORT_BYTES), inner.take(SIGNATURE_BYTES)
    (auth_length,) = _U16.unpack(inner.take(_U16.size))
    if auth_length > QE_AUTH_BYTES_MAX:
        raise _malformed(f"expected at most {QE_AUTH_BYTES_MAX} bytes of QE authentication data, found {auth_length}")
    auth = inner.take(auth_length)
    chain = inner.certification_data(_TYPE_PCK_CHAIN, PEM_CHAIN_BYTES_MAX)
    inner.finish()
    data.finish()
    return Quote(
        version=version,
        tee=tee,
        qe_id=user_data[:16],
        signed=evidence[:body_end],
        body=parse_td_report(body) if tee is Tee.TDX else parse_enclave_report(body),
        signature=signature,
        attestation_key=key,
        qe_report_bytes=qe_report,
        qe_report=parse_enclave_report(qe_report),
        qe_report_signature=qe_signature,
        qe_auth=auth,
        pck_chain=chain,
    )


def _shape(evidence: bytes, version: int, tee_type: int) -> tuple[Tee, int, int]:
    """(platform, offset of the body, bytes of the body) of each supported combination."""
    if version == 3 and tee_type == _TEE_SGX:
        return Tee.SGX, HEADER_BYTES, ENCLAVE_REPORT_BYTES
    if version == 4 and tee_type == _TEE_TDX:
        return Tee.TDX, HEADER_BYTES, TD_REPORT_10_BYTES
    if version == 5 and tee_type == _TEE_TDX and len(evidence) >= HEADER_BYTES + _U16_U32.size:
        body_type, size = _U16_U32.unpack_from(evidence, HEADER_BYTES)
        expected = {_BODY_TD_10: TD_REPORT_10_BYTES, _BODY_TD_15: TD_REPORT_15_BYTES}.get(body_type)
        if expected is None:
            raise _unsupported(f"expected TD report body type 2 or 3, found {body_type}")
        if size != expected:
            raise _malformed(f"expected a body of {expected} bytes, found {size}")
        return Tee.TDX, HEADER_BYTES + _U16_U32.size, size
    raise _unsupported(
        f"expected quote version 3 for SGX, 4 or 5 for TDX, found version {version} for TEE type {tee_type:#x}"
    )


class _Cursor:
    """Takes exact slices off the front; raises EvidenceError when too few bytes are left."""

    __slots__ = ("data", "offset")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    def take(self, length: int) -> bytes:
        end = self.offset + length
        if end > len(self.data):
            raise _malformed("signature data ends early")
        taken = self.data[self.offset : end]
        self.offset = end
        return taken

    def certification_data(self, kind: int, length_max: int) -> bytes:
        found, length = _U16_U32.unpack(self.take(_U16_U32.size))
        if found != kind:
            raise _unsupported(f"expected certification data type {kind}, found {found}")
        if length > length_max:
            raise _malformed(f"expected at most {length_max} bytes of certification data, found {length}")
        return self.take(length)

    def finish(self) -> None:
        if self.offset != len(self.data):
            raise _malformed("signature data has bytes left over")


def _malformed(detail: str) -> EvidenceError:
    return EvidenceError(detail, code="evidence.malformed")


def _unsupported(detail: str) -> EvidenceError:
    return EvidenceError(detail, code="evidence.unsupported")
