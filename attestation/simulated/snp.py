"""A simulated SEV-SNP machine: reports of version 2, 3 and 5, signed with its VCEK or a VLEK."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.simulated.amd_certificates import FirmwareLevels
from attestation.simulated.sealing import derive_sealing_key

CPUID: Mapping[str, tuple[int, int, int]] = {
    "Milan": (0x19, 0x01, 0x01),
    "Genoa": (0x19, 0x11, 0x01),
    "Turin": (0x1A, 0x02, 0x01),
}
"""Family, model, stepping of a typical machine of each product."""

POLICY = 0x30000
"""SMT allowed and the bit that must be one."""

POLICY_DEBUG = POLICY | 1 << 19
PLATFORM_INFO = 0b100101
"""SMT enabled, ECC enabled, memory alias check complete."""

KEY_VCEK, KEY_VLEK = 0, 1 << 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpPlatform:
    """A machine known to the authority: sign reports with `quote` or `report`."""

    tee: ClassVar[str] = "sev-snp"

    name: str
    product: str
    chip_id: bytes
    """64 bytes, or 8 on Turin."""
    levels: FirmwareLevels
    signing_key: ec.EllipticCurvePrivateKey
    """The VCEK, or a VLEK when `masked`."""
    certificate: bytes = field(repr=False)
    """DER of the leaf."""
    seal_secret: bytes = field(repr=False)
    masked: bool = False

    @property
    def platform_id(self) -> PlatformId | None:
        """The id a verifier reads from this machine's evidence; `None` under a VLEK."""
        return None if self.masked else PlatformId.amd_chip_id(self.chip_id)

    def quote(
        self,
        report_data: bytes,
        *,
        mrtd: bytes,
        mrconfigid: bytes = bytes(48),
        rtmrs: Sequence[bytes] = (),  # noqa: ARG002 - SNP has no runtime registers
        now: int = 0,  # noqa: ARG002 - a report carries no time
        **overrides: Any,
    ) -> bytes:
        """As `Platform.quote`: MEASUREMENT takes the place of MRTD, HOST_DATA that of MRCONFIGID's first 32 bytes."""
        return self.report(report_data, measurement=mrtd, host_data=mrconfigid[:32], **overrides)

    def report(
        self,
        report_data: bytes,
        *,
        measurement: bytes,
        host_data: bytes = bytes(32),
        version: int = 5,
        policy: int = POLICY,
        platform_info: int = PLATFORM_INFO,
        vmpl: int = 0,
        reported: FirmwareLevels | None = None,
        patches: Mapping[int, bytes] | None = None,
    ) -> bytes:
        """A report; `patches` overwrites bytes at offsets before signing, for adversarial cases."""
        assert (len(report_data), len(measurement), len(host_data)) == (64, 48, 32), "exact field lengths"
        report = bytearray(0x4A0)
        struct.pack_into("<IIQ", report, 0, version, 1, policy)
        struct.pack_into("<II", report, 0x30, vmpl, 1)
        struct.pack_into("<QI", report, 0x40, platform_info, KEY_VLEK if self.masked else KEY_VCEK)
        report[0x50:0x90], report[0x90:0xC0], report[0xC0:0xE0] = report_data, measurement, host_data
        report[0x140:0x160] = b"\x5a" * 32
        report[0x160:0x180] = b"\xff" * 32
        for offset in (0x38, 0x1E0, 0x1F0):
            report[offset : offset + 8] = self.levels.encode()
        report[0x180:0x188] = (reported or self.levels).encode()
        if version >= 3:
            report[0x188:0x18B] = bytes(CPUID[self.product])
        if not self.masked:
            report[0x1A0 : 0x1A0 + len(self.chip_id)] = self.chip_id
        report[0x1E8:0x1EB] = report[0x1EC:0x1EF] = bytes([35, 55, 1])
        for offset, data in (patches or {}).items():
            report[offset : offset + len(data)] = data
        r, s = decode_dss_signature(self.signing_key.sign(bytes(report[:0x2A0]), ec.ECDSA(hashes.SHA384())))
        report[0x2A0:0x2D0], report[0x2E8:0x318] = r.to_bytes(48, "little"), s.to_bytes(48, "little")
        return bytes(report)

    def sealing_key(self, measurement: bytes, label: str) -> bytearray:
        """32 bytes bound to this machine, to `measurement` and to `label`; survives reboots."""
        return derive_sealing_key(self.seal_secret, measurement, label)
