"""Whose approvals and whose statements count: every check fails alone, at one node, before anything is executed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from enclave.approvals.waiting import statement_bytes
from enclave.ids import new_id
from enclave.signing_key import SigningKey
from enclave.wire.approvals import Approval, Parked
from tests.enclave.approvals.kit import WAITS, Asked, Person, both, refused_grant
from tests.enclave.node.world import World, message_body


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """One waiting request of one cluster; tests bring their own people and change nothing else."""
    world = World(tmp_path_factory.mktemp("cluster"))
    world.ready(WAITS)
    key = world.create_key()
    world.now += 1
    made = Asked(world, key, message_body(b"pay the supplier"))
    made.park()
    world.now += 100
    yield made
    world.stop()


@pytest.fixture
def asked(shared: Asked) -> Asked:
    """The request, its token expired since."""
    return shared


@pytest.fixture
def people(asked: Asked) -> list[Person]:
    """Three of the treasury whom no other test knows."""
    found = [Person(name) for name in ("ada", "bob", "cleo")]
    for person in found:
        asked.world.put(person.document(asked.world))
    return found


# --- who approves ---------------------------------------------------------------------------------------


def _one(asked: Asked, people: list[Person]) -> list[Approval]:
    return both(asked, people)[:1]


def _twice(asked: Asked, people: list[Person]) -> list[Approval]:
    return [both(asked, people)[0]] * 2


def _two_keys(asked: Asked, _people: list[Person]) -> list[Approval]:
    person = Person("two-keys", SigningKey.generate(), SigningKey.generate())
    asked.world.put(person.document(asked.world))
    return [person.decides(asked.world, asked.fingerprint(), key=key) for key in person.keys]


def _shared_key(asked: Asked, _people: list[Person]) -> list[Approval]:
    shared = SigningKey.generate()
    pair = [Person("one", shared), Person("two", shared)]
    for person in pair:
        asked.world.put(person.document(asked.world))
    return [person.decides(asked.world, asked.fingerprint()) for person in pair]


def _stranger(asked: Asked, people: list[Person]) -> list[Approval]:
    return [both(asked, people)[0], Person("nobody").decides(asked.world, asked.fingerprint())]


def _other_group(asked: Asked, people: list[Person]) -> list[Approval]:
    person = Person("ops", groups=["operations"])
    asked.world.put(person.document(asked.world))
    return [both(asked, people)[0], person.decides(asked.world, asked.fingerprint())]


def _revoked(asked: Asked, people: list[Person]) -> list[Approval]:
    approvals = both(asked, people)
    asked.world.put(people[1].document(asked.world, state="revoked", sequence=2))
    return approvals


def _unregistered_key(asked: Asked, people: list[Person]) -> list[Approval]:
    key = SigningKey.generate()
    return [both(asked, people)[0], people[1].decides(asked.world, asked.fingerprint(), key=key)]


def _own(asked: Asked, people: list[Person]) -> list[Approval]:
    person = Person("agent-in-disguise", SigningKey.generate(), asked.world.agent)
    asked.world.put(person.document(asked.world))
    return [both(asked, people)[0], person.decides(asked.world, asked.fingerprint())]


def _signed(**changes: Any) -> Callable[[Asked, list[Person]], list[Approval]]:
    def made(asked: Asked, people: list[Person]) -> list[Approval]:
        return [both(asked, people)[0], people[1].decides(asked.world, asked.fingerprint(), **changes)]

    return made


def _about(**changes: Any) -> Callable[[Asked, list[Person]], list[Approval]]:
    def made(asked: Asked, people: list[Person]) -> list[Approval]:
        return [both(asked, people)[0], people[1].decides(asked.world, asked.fingerprint(**changes))]

    return made


def _of_somebody_else(asked: Asked, people: list[Person]) -> list[Approval]:
    first = both(asked, people)[0]
    return [first, msgspec.structs.replace(first, approver=people[1].id)]


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (lambda _asked, _people: [], "approval.missing"),
        (_one, "approval.missing"),
        (_twice, "approval.missing"),
        (_two_keys, "approval.missing"),
        (_shared_key, "approval.missing"),
        (_stranger, "approval.approver"),
        (_other_group, "approval.approver"),
        (_revoked, "approval.approver"),
        (_unregistered_key, "approval.approver"),
        (_of_somebody_else, "approval.approver"),
        (_own, "approval.own-request"),
        (_signed(decision="reject"), "approval.signature"),
        (_signed(cluster=bytes(32)), "approval.signature"),
        (_signed(approver=new_id("apr")), "approval.signature"),
        (_about(cluster=bytes(32)), "approval.signature"),
        (_about(request_id=bytes(32)), "approval.signature"),
        (_about(body=message_body(b"pay somebody else")), "approval.signature"),
        (_about(resource=f"{new_id('key')}/1"), "approval.signature"),
        (_about(policy=new_id("pol")), "approval.signature"),
        (_about(policy_version=2), "approval.signature"),
        (_about(summary="requested by: somebody nice\n"), "approval.signature"),
        (_about(expires_at=2**40), "approval.signature"),
    ],
)
def test_only_good_approvals_count(
    asked: Asked, people: list[Person], made: Callable[[Asked, list[Person]], list[Approval]], code: str
) -> None:
    """One good approval and another that is not leave one too few; a third good one then makes up for it."""
    approvals = made(asked, people)
    assert refused_grant(asked, asked.request(approvals)) == code
    third = [people[0], people[2]]
    asked.world.call(
        "node-1",
        "approved",
        asked.request([*approvals, *(one.decides(asked.world, asked.fingerprint()) for one in third)]),
    )


def test_approvals_of_another_request_do_not_count(asked: Asked, people: list[Person]) -> None:
    """The same bytes asked for again are another operation."""
    again = Asked(asked.world, asked.key, asked.body)
    again.park()
    assert refused_grant(again, again.request(both(asked, people))) == "approval.signature"


# --- what nodes said ------------------------------------------------------------------------------------


def _resigned(**changes: Any) -> Callable[[Asked], list[Parked]]:
    """Three statements, the third changed and truly signed by its node."""

    def made(asked: Asked) -> list[Parked]:
        node = asked.world.nodes["node-3"]
        third = msgspec.structs.replace(asked.statements[2], **changes)
        third = msgspec.structs.replace(third, signature=node.identity.sign(statement_bytes(node, third)))
        return [*asked.statements[:2], third]

    return made


def _unsigned(asked: Asked) -> list[Parked]:
    return [*asked.statements[:2], msgspec.structs.replace(asked.statements[2], signature=bytes(64))]


def _by_another(asked: Asked) -> list[Parked]:
    return [*asked.statements[:2], msgspec.structs.replace(asked.statements[2], slot="node-4")]


@pytest.mark.parametrize(
    "made",
    [
        lambda asked: asked.statements[:2],
        lambda asked: [*asked.statements[:2], asked.statements[1]],
        _unsigned,
        _by_another,
        _resigned(fingerprint=bytes(32)),
        _resigned(request_id=bytes(32)),
        _resigned(expires_at=2**40),
        _resigned(boot_counter=9),
        _resigned(received_at=2**40),
        _resigned(slot="node-9"),
    ],
)
def test_a_signing_quorum_must_have_seen_the_token_alive(
    asked: Asked, people: list[Person], made: Callable[[Asked], list[Parked]]
) -> None:
    """Two good statements and one that is not are too few; all three good ones are enough."""
    approvals = both(asked, people)
    assert refused_grant(asked, asked.request(approvals, statements=made(asked))) == "approval.parked"
    asked.world.call("node-1", "approved", asked.request(approvals, statements=asked.statements[:3]))
