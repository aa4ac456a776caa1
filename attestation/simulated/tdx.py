"""TDX and SGX quotes of a simulated machine: real layout, real signatures, any field at the caller's choice.

Quote version 4 carries a TD report 1.0, version 5 a TD report 1.5, version 3 an SGX enclave report.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attestation.simulated import tcb

QE_VENDOR_INTEL = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
TEE_TYPE_TDX = 0x81
TEE_TYPE_SGX = 0
BODY_TD_REPORT_15 = 3
"""Body type in the version 5 descriptor."""
ATTESTATION_KEY_ECDSA_P256 = 2
CERTIFICATION_QE_REPORT = 6
CERTIFICATION_PCK_CHAIN = 5

MRSEAM = hashlib.sha384(b"holdfast simulated TDX module").digest()

TD_ATTRIBUTES = bytes.fromhex("0000001000000000")
"""SEPT_VE_DISABLE only, as nearly every production TD."""

TD_ATTRIBUTES_DEBUG = bytes.fromhex("0100001000000000")
TD_ATTRIBUTES_MIGRATABLE = bytes.fromhex("0000003000000000")

XFAM = bytes.fromhex("e702060000000000")

TEE_TCB_SVN = tcb.tdx_svn(tcb.MODULE_SVN_UP_TO_DATE, 1, tcb.LATE_MICROCODE_UP_TO_DATE)
TEE_TCB_SVN_OUT_OF_DATE = tcb.tdx_svn(tcb.MODULE_SVN_OUT_OF_DATE, 1, tcb.LATE_MICROCODE_OUT_OF_DATE)

AUTH_DATA = bytes(range(32))
"""QE authentication data; Intel's quoting enclave uses the same 32 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """The 584-byte TD report body; every field is bytes in wire order."""

    report_data: bytes
    mrtd: bytes
    mrconfigid: bytes = bytes(48)
    mrowner: bytes = bytes(48)
    mrownerconfig: bytes = bytes(48)
    rtmrs: Sequence[bytes] = (bytes(48),) * 4
    attributes: bytes = TD_ATTRIBUTES
    xfam: bytes = XFAM
    tee_tcb_svn: bytes = TEE_TCB_SVN
    mrseam: bytes = MRSEAM
    mrsignerseam: bytes = bytes(48)
    seam_attributes: bytes = bytes(8)

    def encode(self) -> bytes:
        """The body; asserts its 584 bytes, because a wrong length here is a mistake of the caller."""
        body = b"".join(
            (
                self.tee_tcb_svn,
                self.mrseam,
                self.mrsignerseam,
                self.seam_attributes,
                self.attributes,
                self.xfam,
                self.mrtd,
                self.mrconfigid,
                self.mrowner,
                self.mrownerconfig,
                *self.rtmrs,
                self.report_data,
            )
        )
        assert len(self.report_data) == 64, "report data is 64 bytes"
        assert len(body) == 584, f"a TD report is 584 bytes, not {len(body)}"
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport15(TdReport):
    """The 648-byte TD report body of module version 1.5."""

    tee_tcb_svn_2: bytes = TEE_TCB_SVN
    mrservicetd: bytes = bytes(48)

    def encode(self) -> bytes:
        """The body: version 1.0, then the module running now and the service TD."""
        # Written out: a zero-argument super() does not survive the class being rebuilt with slots.
        return TdReport.encode(self) + self.tee_tcb_svn_2 + self.mrservicetd


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveReport:
    """The 384-byte SGX enclave report body."""

    report_data: bytes
    mrenclave: bytes
    mrsigner: bytes = bytes(31) + b"\x01"
    attributes: bytes = bytes.fromhex("0500000000000000e700000000000000")
    """INIT and MODE64."""
    product: int = 0
    isv_svn: int = 1
    cpu_svn: bytes = bytes.fromhex("0404191b04ff00060000000000000000")

    def encode(self) -> bytes:
        """The body."""
        body = bytearray(384)
        body[0:16] = self.cpu_svn
        body[48:64] = self.attributes
        body[64:96] = self.mrenclave
        body[128:160] = self.mrsigner
        struct.pack_into("<HH", body, 256, self.product, self.isv_svn)
        body[320:384] = self.report_data
        assert len(body) == 384, "every field has its exact length"
        return bytes(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotingEnclave:
    """What the quoting enclave's own report says."""

    isv_svn: int = tcb.QE_SVN_UP_TO_DATE
    product: int = 2
    mrsigner: bytes = tcb.TD_QE_MRSIGNER
    attributes: bytes = bytes.fromhex("1500000000000000e700000000000000")
    cpu_svn: bytes = bytes.fromhex("0404191b04ff00060000000000000000")

    def report(self, attestation_key: bytes, auth_data: bytes) -> bytes:
        """The 384-byte enclave report that binds `attestation_key` (raw x || y) and `auth_data`."""
        report = bytearray(384)
        report[0:16] = self.cpu_svn
        report[48:64] = self.attributes
        report[64:96] = hashlib.sha256(b"holdfast simulated quoting enclave").digest()
        report[128:160] = self.mrsigner
        struct.pack_into("<HH", report, 256, self.product, self.isv_svn)
        report[320:352] = hashlib.sha256(attestation_key + auth_data).digest()
        return bytes(report)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteSigner:
    """The keys and certificates with which one machine signs its quotes."""

    attestation_key: ec.EllipticCurvePrivateKey
    pck_key: ec.EllipticCurvePrivateKey
    chain_pem: bytes
    """Leaf, Platform CA, root."""
    enclave: QuotingEnclave = QuotingEnclave()
    auth_data: bytes = AUTH_DATA

    def quote(self, report: TdReport) -> bytes:
        """A quote over `report`: version 5 for a TD report 1.5, else version 4."""
        body = report.encode()
        if isinstance(report, TdReport15):
            signed = _header(5, TEE_TYPE_TDX) + struct.pack("<HI", BODY_TD_REPORT_15, len(body)) + body
        else:
            signed = _header(4, TEE_TYPE_TDX) + body
        key = raw_public_key(self.attestation_key)
        certified = self._certification(key)
        signature = tcb.raw_signature(self.attestation_key, signed) + key
        signature += struct.pack("<HI", CERTIFICATION_QE_REPORT, len(certified)) + certified
        return signed + struct.pack("<I", len(signature)) + signature

    def enclave_quote(self, report: EnclaveReport) -> bytes:
        """A version 3 quote over an SGX enclave report; `enclave` must be the SGX quoting enclave."""
        signed = _header(3, TEE_TYPE_SGX) + report.encode()
        key = raw_public_key(self.attestation_key)
        signature = tcb.raw_signature(self.attestation_key, signed) + key + self._certification(key)
        return signed + struct.pack("<I", len(signature)) + signature

    def _certification(self, key: bytes) -> bytes:
        report = self.enclave.report(key, self.auth_data)
        return b"".join(
            (
                report,
                tcb.raw_signature(self.pck_key, report),
                struct.pack("<H", len(self.auth_data)) + self.auth_data,
                struct.pack("<HI", CERTIFICATION_PCK_CHAIN, len(self.chain_pem)) + self.chain_pem,
            )
        )


SGX_QUOTING_ENCLAVE = QuotingEnclave(product=1, mrsigner=tcb.QE_MRSIGNER)


def _header(version: int, tee_type: int) -> bytes:
    return struct.pack("<HHIHH", version, ATTESTATION_KEY_ECDSA_P256, tee_type, 0, 0) + QE_VENDOR_INTEL + bytes(20)


def raw_public_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """x || y, 64 bytes."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
