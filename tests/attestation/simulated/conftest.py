"""One simulated authority per test session: making keys is the slow part."""

from __future__ import annotations

from pathlib import Path

import pytest

from attestation.collateral import Collateral
from attestation.simulated.authority import Authority
from attestation.simulated.platform import Platform
from attestation.verifier import Verifier

NOW = 1_790_000_000


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A fresh authority."""
    return Authority.create(Path(tmp_path_factory.mktemp("authority")) / "vendor")


@pytest.fixture(scope="session")
def platform(authority: Authority) -> Platform:
    """One up-to-date machine."""
    return authority.platform("machine-1")


@pytest.fixture(scope="session")
def verifier(authority: Authority) -> Verifier:
    """The production verifier under the simulated root."""
    return Verifier.with_root(authority.root_der)


@pytest.fixture(scope="session")
def collateral(authority: Authority) -> Collateral:
    """Fresh collateral at NOW."""
    return Collateral.of(*authority.collateral(NOW))
