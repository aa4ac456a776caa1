"""One simulated vendor of everything, shared by the tests of the auditor's tools: making RSA keys is the slow part."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from attestation.collateral import Collateral
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.nitro import NitroFields, registers
from attestation.simulated.platform import Platform
from attestation.simulated.snp import SnpPlatform
from attestation.verifier import Verifier

NOW = 1_790_000_000
"""2026-09-21T14:13:20Z."""

IMAGE = simulated_measurement("node")
REPORT_DATA = bytes(range(64))
CHIP = bytes(range(64, 128))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An authority with one Intel machine, one Milan machine and a Nitro root."""

    authority: Authority
    intel: Platform
    milan: SnpPlatform

    @property
    def roots(self) -> list[bytes]:
        """DER of the Intel-shaped, AMD-shaped and Nitro-shaped root."""
        return self.authority.roots()

    @property
    def verifier(self) -> Verifier:
        """A fresh verifier under the simulated roots."""
        return Verifier.with_root(*self.roots)

    def collateral(self, now: int = NOW) -> Collateral:
        """Everything the authority publishes at `now`."""
        return Collateral.of(*self.authority.collateral(now))

    def tdx(self, report_data: bytes = REPORT_DATA) -> bytes:
        """A TDX quote."""
        return self.intel.quote(report_data, mrtd=IMAGE)

    def sgx(self, report_data: bytes = REPORT_DATA) -> bytes:
        """An SGX quote."""
        return self.intel.enclave_quote(report_data, mrenclave=IMAGE[:32])

    def snp(self, report_data: bytes = REPORT_DATA) -> bytes:
        """An SEV-SNP report."""
        return self.milan.report(report_data, measurement=IMAGE)

    def nitro(self, now: int = NOW) -> bytes:
        """A Nitro document of this time."""
        return self.authority.nitro.document(NitroFields(pcrs=registers(IMAGE), user_data=REPORT_DATA), now=now)


_made: list[World] = []


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> World:
    """The session's world; each conftest imports this fixture, all get the same one."""
    if not _made:
        directory = tempfile.TemporaryDirectory(prefix="holdfast-world-")
        request.config.add_cleanup(directory.cleanup)
        authority = Authority.create(Path(directory.name) / "vendor")
        milan = authority.amd.platform("milan-1", chip_id=CHIP)
        authority.nitro.root()
        _made.append(World(authority=authority, intel=authority.platform("machine-1"), milan=milan))
    return _made[0]
