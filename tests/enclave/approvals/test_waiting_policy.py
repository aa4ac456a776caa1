"""A version of the policy that waits for its activation asks people too: nobody uses the gap between two versions."""

from __future__ import annotations

from typing import Any

from enclave.certificate import KeyCertificate
from tests.enclave.approvals.conftest import MESSAGE
from tests.enclave.approvals.kit import TERMS, WAITS, Asked, Person, both, refused_grant
from tests.enclave.approvals.test_execution import refused, signed
from tests.enclave.node.codes import code_of
from tests.enclave.node.test_policy_activation import give
from tests.enclave.node.world import World, message_body


def next_version(world: World, **terms: Any) -> None:
    """All nodes hold a version that asks otherwise; it is not in force yet."""
    give(world, world.policy_document(WAITS | {"approvals": TERMS | terms}, version=2))
    assert world.nodes["node-1"].directory.waiting(world.policy_id) is not None


def test_the_larger_number_of_two_versions_counts(world: World, key: KeyCertificate, people: list[Person]) -> None:
    """Two of the treasury are enough for the version in force, but the one that waits wants three."""
    next_version(world, minimum=3)
    asked = Asked(world, key, message_body(MESSAGE))
    asked.park()
    assert refused_grant(asked, asked.request(both(asked, people))) == "approval.missing"
    asked.grant(*people)
    assert signed(asked)


def test_a_smaller_number_does_not_count_before_its_time(
    world: World, key: KeyCertificate, people: list[Person]
) -> None:
    """The version that waits wants one; until it is in force two are wanted."""
    next_version(world, minimum=1)
    asked = Asked(world, key, message_body(MESSAGE))
    asked.park()
    alone = asked.request([people[0].decides(world, asked.fingerprint())])
    assert refused_grant(asked, alone) == "approval.missing"
    asked.grant(*people[:2])
    assert signed(asked)


def test_a_grant_of_before_does_not_outlive_stricter_terms(asked: Asked, people: list[Person]) -> None:
    """Granted by two, then a version arrives that wants three: no share is touched under the old terms."""
    asked.grant(*people[:2])
    next_version(asked.world, minimum=3)
    assert refused(asked) == "approval.missing"


def test_two_versions_with_two_groups_allow_nothing(world: World, key: KeyCertificate, people: list[Person]) -> None:
    """Approvals of the one group never count for the other, so the request is denied until one version is in force."""
    assert people
    next_version(world, group="board")
    asked = Asked(world, key, message_body(MESSAGE))
    assert code_of(asked.park) == "policy.denied"
    assert refused(asked) == "policy.denied"
