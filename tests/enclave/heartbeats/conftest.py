"""Clusters for the heartbeat tests: heartbeats travel only when a test relays them."""

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
    """Five nodes at work, with an agent and a policy; nothing is relayed from here on unless asked for."""
    world.ready()
    world.relay()
    world.relays = False
    return world
