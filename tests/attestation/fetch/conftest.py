"""Fixtures of the fetch tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attestation.fetch.bench import Bench
from tests.attestation.fetch.vendor import VendorService
from tests.attestation.world import World


@pytest.fixture
def service(world: World) -> Iterator[VendorService]:
    """A vendor service that behaves."""
    running = VendorService(world)
    yield running
    running.close()


@pytest.fixture
def mirror(world: World) -> Iterator[VendorService]:
    """A second one."""
    running = VendorService(world)
    yield running
    running.close()


@pytest.fixture
def bench(world: World, tmp_path: Path) -> Bench:
    """A bench with an empty directory."""
    return Bench(world, tmp_path / "collateral")
