"""Clusters for the witness tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from enclave.roster import Roster
from enclave.witness.standing import COLD_START_LIMIT
from tests.enclave.node.world import World


class AskingWorld(World):
    """A development cluster whose roster wants an operator's word after everything was restarted."""

    def _roster(self) -> Roster:
        return replace(super()._roster(), limits={COLD_START_LIMIT: 1})


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[World]:
    """Five nodes at work, with an agent and a policy."""
    world = AskingWorld(tmp_path)
    world.ready()
    world.relay(rounds=3)
    yield world
    world.stop()
