"""The two report bodies a quote can carry: an SGX enclave report (384 bytes) and a TD report (584 or 648 bytes).

Layouts: Intel SGX SDK `sgx_report_body_t`; Intel TDX DCAP quote library, `sgx_report2_body_t` and
its v1.5 extension.  Attribute bits: TDX module ABI specification 348551-007, table 3.22.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ENCLAVE_REPORT_BYTES = 384
TD_REPORT_10_BYTES = 584
TD_REPORT_15_BYTES = 648

_ENCLAVE = struct.Struct("<16s4s28x16s32s32x32s96xHH60x64s")
_TD_10 = struct.Struct("<16s48s48s8s8s8s48s48s48s48s48s48s48s48s64s")
_TD_15 = struct.Struct("<16s48s")

# TDATTRIBUTES bit numbers.
_DEBUG, _ICSSD, _LASS, _SEPT_VE_DISABLE, _MIGRATABLE, _PKS, _KEY_LOCKER, _TPA, _PERFMON = (
    0,
    16,
    27,
    28,
    29,
    30,
    31,
    62,
    63,
)
_PROFILING_MASK = 0b111 << 4
_TUD_RESERVED_MASK = 0x8E
_RESERVED_MASK = 0x3FFF_FFFF_0780_FF00
"""Bits that must be zero outside the TUD byte; 17 (service TD extension) and 18-22 are allowed."""

_SGX_INIT, _SGX_DEBUG, _SGX_MODE64, _SGX_PROVISION_KEY, _SGX_EINITTOKEN_KEY, _SGX_KSS = 0, 1, 2, 4, 5, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveReport:
    """An SGX enclave report body; integers decoded, the rest raw."""

    cpusvn: bytes
    miscselect: bytes
    attributes: bytes
    mrenclave: bytes
    mrsigner: bytes
    isvprodid: int
    isvsvn: int
    report_data: bytes

    def measurements(self) -> dict[str, str]:
        """Register name to hex."""
        return {"mrenclave": self.mrenclave.hex(), "mrsigner": self.mrsigner.hex()}

    def flags(self) -> dict[str, bool]:
        """The attribute bits policy may judge."""
        bits = int.from_bytes(self.attributes[:8], "little")
        return {
            "debug": bool(bits >> _SGX_DEBUG & 1),
            "init": bool(bits >> _SGX_INIT & 1),
            "mode64": bool(bits >> _SGX_MODE64 & 1),
            "provision_key": bool(bits >> _SGX_PROVISION_KEY & 1),
            "einittoken_key": bool(bits >> _SGX_EINITTOKEN_KEY & 1),
            "kss": bool(bits >> _SGX_KSS & 1),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """A TD report body; the last two fields exist from version 1.5 on."""

    tee_tcb_svn: bytes
    mrseam: bytes
    mrsignerseam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mrtd: bytes
    mrconfigid: bytes
    mrowner: bytes
    mrownerconfig: bytes
    rtmr: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes
    tee_tcb_svn_2: bytes | None = None
    mrservicetd: bytes | None = None

    def measurements(self) -> dict[str, str]:
        """Register name to hex; mrservicetd only where the body has it."""
        registers = {
            "mrtd": self.mrtd.hex(),
            "rtmr0": self.rtmr[0].hex(),
            "rtmr1": self.rtmr[1].hex(),
            "rtmr2": self.rtmr[2].hex(),
            "rtmr3": self.rtmr[3].hex(),
            "mrconfigid": self.mrconfigid.hex(),
            "mrowner": self.mrowner.hex(),
            "mrownerconfig": self.mrownerconfig.hex(),
            "mrseam": self.mrseam.hex(),
        }
        if self.mrservicetd is not None:
            registers["mrservicetd"] = self.mrservicetd.hex()
        return registers

    def flags(self) -> dict[str, bool]:
        """The attribute bits policy may judge."""
        bits = int.from_bytes(self.td_attributes, "little")
        return {
            "debug": bool(bits >> _DEBUG & 1),
            "profiling": bool(bits & _PROFILING_MASK),
            "migratable": bool(bits >> _MIGRATABLE & 1),
            "service_td": any(self.mrservicetd or b""),
            "sept_ve_disable": bool(bits >> _SEPT_VE_DISABLE & 1),
            "perfmon": bool(bits >> _PERFMON & 1),
            "key_locker": bool(bits >> _KEY_LOCKER & 1),
            "pks": bool(bits >> _PKS & 1),
            "lass": bool(bits >> _LASS & 1),
            "tpa": bool(bits >> _TPA & 1),
            "icssd": bool(bits >> _ICSSD & 1),
            "reserved_attributes": bool(bits & (_TUD_RESERVED_MASK | _RESERVED_MASK)),
        }


def parse_enclave_report(data: bytes) -> EnclaveReport:
    """Read exactly 384 bytes."""
    cpusvn, misc, attributes, mrenclave, mrsigner, prodid, svn, report_data = _ENCLAVE.unpack(data)
    return EnclaveReport(
        cpusvn=cpusvn,
        miscselect=misc,
        attributes=attributes,
        mrenclave=mrenclave,
        mrsigner=mrsigner,
        isvprodid=prodid,
        isvsvn=svn,
        report_data=report_data,
    )


def parse_td_report(data: bytes) -> TdReport:
    """Read exactly 584 (version 1.0) or 648 (version 1.5) bytes."""
    (svn, seam, signer, seam_attr, attr, xfam, mrtd, config, owner, owner_config, r0, r1, r2, r3, report_data) = (
        _TD_10.unpack_from(data)
    )
    svn_2, service = _TD_15.unpack_from(data, TD_REPORT_10_BYTES) if len(data) == TD_REPORT_15_BYTES else (None, None)
    return TdReport(
        tee_tcb_svn=svn,
        mrseam=seam,
        mrsignerseam=signer,
        seam_attributes=seam_attr,
        td_attributes=attr,
        xfam=xfam,
        mrtd=mrtd,
        mrconfigid=config,
        mrowner=owner,
        mrownerconfig=owner_config,
        rtmr=(r0, r1, r2, r3),
        report_data=report_data,
        tee_tcb_svn_2=svn_2,
        mrservicetd=service,
    )
