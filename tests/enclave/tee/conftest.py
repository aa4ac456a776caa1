"""One simulated authority that makes genuine-format evidence for the fakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from attestation.simulated.authority import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A fresh authority."""
    return Authority.create(Path(tmp_path_factory.mktemp("tee-authority")) / "vendor")
