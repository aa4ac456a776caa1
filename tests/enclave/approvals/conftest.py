"""A cluster whose policy wants two approvals, and three people who may give them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from enclave.certificate import KeyCertificate
from tests.enclave.approvals.kit import WAITS, Asked, Person
from tests.enclave.node.world import World, message_body

MESSAGE = b"pay the supplier"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Five nodes that trust each other."""
    made = World(tmp_path)
    made.ready(WAITS)
    yield made
    made.stop()


@pytest.fixture
def people(world: World) -> list[Person]:
    """Three of the treasury, registered everywhere."""
    found = [Person(name) for name in ("ada", "bob", "cleo")]
    for person in found:
        world.put(person.document(world))
    return found


@pytest.fixture
def key(world: World) -> KeyCertificate:
    """A FROST key, usable since a second."""
    certificate = world.create_key()
    world.now += 1
    return certificate


@pytest.fixture
def asked(world: World, key: KeyCertificate, people: list[Person]) -> Asked:
    """A request that waits at all nodes, its token expired since."""
    assert people
    made = Asked(world, key, message_body(MESSAGE))
    made.park()
    world.now += 100
    return made
