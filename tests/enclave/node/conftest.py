"""Clusters for the node's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.enclave.node.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A cluster that is not started yet."""
    made = World(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def ready(world: World) -> World:
    """A cluster whose nodes trust each other, with an agent and a policy."""
    world.ready()
    return world
