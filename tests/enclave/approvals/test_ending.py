"""A waiting request ends by one rejection, by its requester or an administrator, and by what nodes can hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enclave.approvals import book
from enclave.approvals.book import ApprovalBook, EndedRow, Grant, ParkedRow
from enclave.approvals.fingerprint import operation_id
from enclave.certificate import KeyCertificate
from enclave.errors import StorageError
from enclave.signing_key import SigningKey
from enclave.tokens import make_token
from enclave.wire.approvals import Approval, CancelRequest, RejectRequest
from tests.enclave.approvals.kit import Asked, Person
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World, message_body


def reject(asked: Asked, rejection: Approval, slot: str = "node-1") -> None:
    """Deliver a rejection to one node."""
    asked.world.call(slot, "reject", RejectRequest(request_id=asked.request_id, rejection=rejection))


def cancel_token(
    asked: Asked, *, issuer: str, signer: SigningKey, act: str = "operations.cancel", **changes: str
) -> str:
    """A token for cancelling the operation."""
    world = asked.world
    resource = changes.get("resource", operation_id(asked.request_id))
    return make_token(
        signer, issuer=issuer, cluster=world.roster.cluster_id, act=act, resource=resource, body=b"", now=world.now
    )


def cancel(asked: Asked, token: str, slot: str = "node-1") -> None:
    """Deliver a cancellation to one node."""
    asked.world.call(slot, "cancel", CancelRequest(request_id=asked.request_id, token=token))


# --- reject ---------------------------------------------------------------------------------------------


def test_one_rejection_ends_it(asked: Asked, people: list[Person]) -> None:
    """Two approvals do not outvote one rejection; it survives a restart, and no statement is signed any more."""
    world = asked.world
    statements = list(asked.statements)
    reject(asked, people[2].decides(world, asked.fingerprint(), "reject"))
    assert code_of(asked.grant, *people[:2]) == "approval.rejected"
    world.stop("node-1")
    world.start("node-1")
    world.attest()
    asked.statements = [statement for statement in statements if statement.slot != "node-1"]
    assert code_of(asked.grant, *people[:2]) == "approval.rejected"
    assert code_of(asked.renewed, "node-1") == "approval.rejected"
    assert code_of(reject, asked, people[2].decides(world, asked.fingerprint(), "reject")) == "approval.rejected"


def test_a_rejection_counts_after_the_approvals_were_taken(asked: Asked, people: list[Person]) -> None:
    """Until a share is touched one person can stop it."""
    asked.grant(*people[:2])
    reject(asked, people[2].decides(asked.world, asked.fingerprint(), "reject"))
    requests = asked.world.sign_requests(asked.world.slots[:3], asked.text, asked.body)
    assert code_of(asked.world.call, "node-1", "sign", requests["node-1"]) == "approval.rejected"


def test_what_was_executed_is_not_rejected(asked: Asked, people: list[Person]) -> None:
    """Too late is said to be too late."""
    asked.grant(*people[:2])
    requests = asked.world.sign_requests(asked.world.slots[:3], asked.text, asked.body)
    asked.world.call("node-1", "sign", requests["node-1"])
    assert code_of(reject, asked, people[2].decides(asked.world, asked.fingerprint(), "reject")) == "approval.used"


def _approval(asked: Asked, people: list[Person]) -> Approval:
    return people[0].decides(asked.world, asked.fingerprint())


def _about_another(asked: Asked, people: list[Person]) -> Approval:
    return people[0].decides(asked.world, asked.fingerprint(request_id=bytes(32)), "reject")


def _by_other_group(asked: Asked, _people: list[Person]) -> Approval:
    person = Person("ops", groups=["operations"])
    asked.world.put(person.document(asked.world))
    return person.decides(asked.world, asked.fingerprint(), "reject")


def _by_revoked(asked: Asked, people: list[Person]) -> Approval:
    asked.world.put(people[0].document(asked.world, state="revoked", sequence=2))
    return people[0].decides(asked.world, asked.fingerprint(), "reject")


def _by_stranger(asked: Asked, _people: list[Person]) -> Approval:
    return Person("nobody").decides(asked.world, asked.fingerprint(), "reject")


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (_approval, "approval.signature"),
        (_about_another, "approval.signature"),
        (_by_other_group, "approval.approver"),
        (_by_revoked, "approval.approver"),
        (_by_stranger, "approval.approver"),
    ],
)
def test_only_members_of_the_group_reject(
    asked: Asked, people: list[Person], made: Callable[[Asked, list[Person]], Approval], code: str
) -> None:
    """An approval is no rejection, and nobody else ends what is none of theirs."""
    assert code_of(reject, asked, made(asked, people)) == code
    assert asked.renewed("node-1")


# --- cancel ---------------------------------------------------------------------------------------------


def test_the_requester_cancels(asked: Asked, people: list[Person]) -> None:
    """The agent takes its request back."""
    world = asked.world
    cancel(asked, cancel_token(asked, issuer=world.agent_id, signer=world.agent))
    assert code_of(asked.grant, *people[:2]) == "approval.cancelled"


def test_an_administrator_cancels(asked: Asked, people: list[Person]) -> None:
    """So does an administrator."""
    world = asked.world
    cancel(asked, cancel_token(asked, issuer=world.operator_id, signer=world.operator))
    assert code_of(asked.grant, *people[:2]) == "approval.cancelled"


def test_others_do_not_cancel(asked: Asked) -> None:
    """Neither an auditor, nor another agent, nor a token for something else."""
    world = asked.world
    other, key = world.agent_document(agent="agt_" + "b" * 26, name="other"), SigningKey.generate()
    world.put(world.agent_document(agent=other.agent, name="other", keys=(key.public,)))
    wrong = {
        cancel_token(asked, issuer=world.auditor_id, signer=world.auditor): "operator.role",
        cancel_token(asked, issuer=other.agent, signer=key): "operator.role",
        cancel_token(asked, issuer=world.agent_id, signer=key): "token.unknown-key",
        cancel_token(asked, issuer=world.agent_id, signer=world.agent, act="operations.get"): "token.act",
        cancel_token(
            asked, issuer=world.agent_id, signer=world.agent, resource=operation_id(bytes(32))
        ): "token.resource",
    }
    assert {token: code_of(cancel, asked, token) for token in wrong} == wrong


def test_unknown_requests(world: World, key: KeyCertificate, people: list[Person]) -> None:
    """Nodes end only what they parked."""
    asked = Asked(world, key, message_body(b"never parked"))
    unknown = people[0].decides(world, bytes(32), "reject")
    token = make_token(
        world.agent, issuer=world.agent_id, cluster=world.roster.cluster_id, act="operations.cancel",
        resource=operation_id(asked.request_id), body=b"", now=world.now,
    )  # fmt: skip
    assert code_of(reject, asked, unknown) == "approval.unknown"
    assert code_of(cancel, asked, token) == "approval.unknown"
    assert code_of(asked.renewed, "node-1") == "approval.unknown"


# --- what a node holds ----------------------------------------------------------------------------------


def row(number: int, *, issuer: str = "agt_a", expires_at: int = 2000) -> ParkedRow:
    """A parked request."""
    return ParkedRow(
        fingerprint=bytes([number]) * 32, received_at=1000, expires_at=expires_at, issuer=issuer, group="g", minimum=1,
        policy="pol_a", policy_version=1,
    )  # fmt: skip


@pytest.fixture
def empty(world: World) -> ApprovalBook:
    """A book on a node's real store."""
    return ApprovalBook(world.nodes["node-1"].store)


def test_one_agent_cannot_fill_the_book(empty: ApprovalBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own bound comes first; what expired makes room again."""
    monkeypatch.setattr(book, "PARKED_PER_ISSUER_MAX", 2)
    for number in range(2):
        empty.park(bytes([number]) * 32, row(number), 1000)
    assert code_of(empty.park, bytes([2]) * 32, row(2), 1000) == "approval.full"
    assert empty.park(bytes([2]) * 32, row(2, issuer="agt_b"), 1000)
    assert empty.park(bytes([1]) * 32, row(1), 1000) == row(1)
    assert empty.park(bytes([3]) * 32, row(3, expires_at=4000), 2000 + book.SWEEP_S)


def test_a_full_book_refuses(empty: ApprovalBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is forgotten to make room."""
    monkeypatch.setattr(book, "PARKED_MAX", 1)
    monkeypatch.setattr(book, "ENDED_MAX", 1)
    empty.park(bytes([1]) * 32, row(1), 1000)
    assert code_of(empty.park, bytes([2]) * 32, row(2, issuer="agt_b"), 1000) == "approval.full"
    empty.end(bytes([1]) * 32, book.REJECTED, expires_at=2000, now=1000)
    assert code_of(empty.end, bytes([2]) * 32, book.REJECTED, expires_at=2000, now=1000) == "approval.full"


def test_an_end_is_remembered_beyond_its_time(empty: ApprovalBook) -> None:
    """A clock set back by less than a day does not revive what was executed."""
    empty.end(bytes(32), book.EXECUTED, expires_at=2000, now=1000)
    empty._expire(2000 + book.REMEMBERED_S - 1)
    assert code_of(empty.check_open, bytes(32)) == "approval.used"
    empty._expire(2000 + book.REMEMBERED_S + book.SWEEP_S)
    empty.check_open(bytes(32))


def test_grants_are_bounded(empty: ApprovalBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old ones make room, live ones do not."""
    monkeypatch.setattr(book, "GRANTS_MAX", 1)

    def grant(number: int, now: int) -> Grant:
        made = Grant(
            request_id=bytes([number]) * 32, fingerprint=b"", policy="p", policy_version=1, approvals=(),
            received_at=now, until=now + 60, expires_at=now + 600,
        )  # fmt: skip
        return empty.grant(1, f"token {number}", made, now)

    grant(1, 1000)
    assert code_of(grant, 2, 1060) == "approval.full"
    assert grant(2, 1061).request_id == bytes([2]) * 32


def test_a_row_of_another_form_stops_the_node(world: World) -> None:
    """What a node cannot read of ended requests it must not guess."""
    store = world.nodes["node-1"].store
    store.put(book.ENDED, "00" * 32, b"\x01")
    with pytest.raises(StorageError):
        ApprovalBook(store)
    assert EndedRow(how="x", expires_at=1).how == "x"
