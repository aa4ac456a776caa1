"""A cluster ready for ceremonies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.enclave.ceremonies.driver import CeremonyWorld


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[CeremonyWorld]:
    """Five attested nodes with an agent and a policy."""
    world = CeremonyWorld(tmp_path)
    world.ready()
    yield world
    world.stop()
