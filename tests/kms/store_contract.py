"""What every Store engine must do; an engine's test module subclasses StoreContract and names its fixture."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from kms.audit import verify_chain
from kms.errors import ConflictError
from kms.store.protocol import (
    Admission,
    Admitted,
    Replay,
    Settlement,
    Store,
    StoredCeremony,
    StoredDocument,
    StoredKey,
    StoredOperation,
)

Reopen = Callable[[], Awaitable[Store]]


def admission(key: str = "k", *, body: bytes = b"{}", now: int = 1000, principal: str = "agt_a") -> Admission:
    """An admission with everything not under test fixed."""
    return Admission(
        principal=principal,
        idempotency_key=key,
        fingerprint=hashlib.sha256(body).digest(),
        intent={"kind": "intent", "time": now},
        now=now,
        expires_at=now + 600,
    )


def settlement(key: str = "k", *, body: bytes | None = b'{"a":1}', keep: bool = True, status: int = 200) -> Settlement:
    """The outcome of `admission(key)`."""
    return Settlement(
        principal="agt_a",
        idempotency_key=key,
        status=status,
        body=body,
        digest=hashlib.sha256(body or b"").digest(),
        keep=keep,
        result={"kind": "result", "status": status},
    )


def document(version: int, *, subject: str = "pol_a", content: bytes = b"x") -> StoredDocument:
    """One version of a policy."""
    return StoredDocument(
        kind="policy",
        subject=subject,
        version=version,
        digest=hashlib.sha256(content + bytes([version])).digest(),
        envelope=content,
        received_at=1,
    )


def stored_key(name: str) -> StoredKey:
    """A key record."""
    return StoredKey(key=name, name="n", spec="ed25519", usage="solana", policy="pol_a", record=b"r", created_at=1)


def operation(name: str = "op_a", *, state: str = "waiting", principal: str = "agt_a") -> StoredOperation:
    """An operation with everything not under test fixed."""
    return StoredOperation(
        operation=name,
        kind="approval",
        principal=principal,
        resource="key_a/1",
        state=state,
        created_at=1000,
        updated_at=1000,
        expires_at=2000,
        details=b"d",
    )


class StoreContract:
    """Tests of the verbs; `reopen` gives the store, or the same store again after closing it."""

    @pytest.fixture
    def reopen(self) -> Reopen:
        """Engine specific."""
        raise NotImplementedError

    @pytest.fixture
    async def store(self, reopen: Reopen) -> Store:
        """An open empty store."""
        return await reopen()

    async def test_repeat_gets_the_identical_response(self, store: Store) -> None:
        """An identical request under the same key is answered with the stored bytes."""
        assert await store.admit(admission()) == Admitted()
        await store.settle(settlement(body=b'{"z": 1, "a":2}', status=201))
        assert await store.admit(admission()) == Replay(status=201, body=b'{"z": 1, "a":2}')

    async def test_other_body_under_the_same_key_is_refused(self, store: Store) -> None:
        """A key names one request: another body under it is a conflict, before and after settling."""
        await store.admit(admission())
        with pytest.raises(ConflictError) as caught:
            await store.admit(admission(body=b"other"))
        assert caught.value.code == "idempotency.other-request"
        await store.settle(settlement())
        with pytest.raises(ConflictError) as caught:
            await store.admit(admission(body=b"other"))
        assert caught.value.code == "idempotency.other-request"

    async def test_request_in_flight_is_a_conflict(self, store: Store) -> None:
        """While the first is running, its repeat is told so."""
        await store.admit(admission())
        with pytest.raises(ConflictError) as caught:
            await store.admit(admission())
        assert caught.value.code == "idempotency.in-flight"

    async def test_two_at_once_admit_one(self, store: Store) -> None:
        """Of identical requests arriving together exactly one is admitted."""
        answers = await asyncio.gather(*(store.admit(admission()) for _ in range(8)), return_exceptions=True)
        assert sum(isinstance(answer, Admitted) for answer in answers) == 1
        assert sum(isinstance(answer, ConflictError) for answer in answers) == 7

    async def test_principals_do_not_share_keys(self, store: Store) -> None:
        """The same key of another principal is another key."""
        await store.admit(admission())
        assert await store.admit(admission(principal="agt_b", body=b"other")) == Admitted()

    async def test_response_without_body_executes_again(self, store: Store) -> None:
        """A settlement that keeps no body lets an identical request run again, and only an identical one."""
        await store.admit(admission())
        await store.settle(settlement(body=None))
        with pytest.raises(ConflictError):
            await store.admit(admission(body=b"other"))
        assert await store.admit(admission()) == Admitted(again=True)

    async def test_refusal_forgets_the_key(self, store: Store) -> None:
        """A request that was not carried out frees its key."""
        await store.admit(admission())
        await store.settle(settlement(keep=False, status=503))
        assert await store.admit(admission(body=b"other")) == Admitted()

    async def test_record_expires(self, store: Store) -> None:
        """After its time a key is free again."""
        await store.admit(admission())
        await store.settle(settlement())
        assert await store.admit(admission(now=1600, body=b"other")) == Admitted()

    async def test_settled_response_survives_reopening(self, store: Store, reopen: Reopen) -> None:
        """What was acknowledged is there after a restart."""
        await store.admit(admission())
        await store.settle(settlement())
        store = await reopen()
        assert await store.admit(admission()) == Replay(status=200, body=b'{"a":1}')

    async def test_interrupted_request_runs_again_after_recovery(self, store: Store, reopen: Reopen) -> None:
        """A request in flight at a crash is audited as interrupted and may be repeated, but not replaced."""
        await store.admit(admission())
        store = await reopen()
        assert await store.recover(now=2) == 1
        assert b'"interrupted"' in (await store.audit(after=1, limit=10))[0].body
        with pytest.raises(ConflictError):
            await store.admit(admission(body=b"other"))
        assert await store.admit(admission()) == Admitted(again=True)

    async def test_intent_and_result_are_in_the_chain(self, store: Store) -> None:
        """An admitted request leaves exactly intent and result, linked."""
        await store.admit(admission())
        await store.settle(settlement())
        entries = await store.audit(after=0, limit=10)
        assert [b'"intent"' in entries[0].body, b'"result"' in entries[1].body] == [True, True]
        assert verify_chain(entries) == (2, entries[-1].hash)

    async def test_refused_admission_leaves_no_entry(self, store: Store) -> None:
        """A conflict writes nothing, so that the chain has no hole and no noise."""
        await store.admit(admission())
        await asyncio.gather(*(store.admit(admission()) for _ in range(3)), return_exceptions=True)
        await store.append_audit({"kind": "note"})
        assert verify_chain(await store.audit(after=0, limit=10))[0] == 2

    async def test_chain_continues_after_reopening(self, store: Store, reopen: Reopen) -> None:
        """The head is taken from what is stored."""
        await store.append_audit({"kind": "a"})
        store = await reopen()
        await store.append_audit({"kind": "b"})
        assert verify_chain(await store.audit(after=0, limit=10))[0] == 2

    async def test_many_writers_make_one_chain(self, store: Store) -> None:
        """Entries appended at once are linked without gaps, and pages join up."""
        await asyncio.gather(*(store.append_audit({"n": n}) for n in range(100)))
        first = await store.audit(after=0, limit=60)
        rest = await store.audit(after=60, limit=60)
        assert (len(first), len(rest)) == (60, 40)
        sequence, head = verify_chain(first)
        assert verify_chain(rest, sequence=sequence, head=head)[0] == 100

    async def test_newest_document_counts(self, store: Store) -> None:
        """Each version is kept and the newest answers."""
        assert await store.put_document(document(1), {"kind": "document"})
        assert await store.put_document(document(3), {"kind": "document"})
        assert await store.put_document(document(1, subject="pol_b"), {"kind": "document"})
        assert await store.document("policy", "pol_a") == document(3)
        assert await store.documents() == [document(3), document(1, subject="pol_b")]
        assert await store.document("policy", "pol_c") is None

    async def test_document_sent_again_changes_nothing(self, store: Store) -> None:
        """The identical document is no news, and no audit entry."""
        await store.put_document(document(1), {"kind": "document"})
        assert not await store.put_document(document(1), {"kind": "document"})
        assert len(await store.audit(after=0, limit=10)) == 1

    async def test_stale_or_forked_document_is_refused(self, store: Store) -> None:
        """An older version, or another document of the same version, is a conflict."""
        await store.put_document(document(2), {"kind": "document"})
        for wrong in (document(1), document(2, content=b"other")):
            with pytest.raises(ConflictError) as caught:
                await store.put_document(wrong, {"kind": "document"})
            assert caught.value.code == "document.stale"

    async def test_keys_come_in_pages(self, store: Store) -> None:
        """Keys are listed by id without repeats."""
        for name in ("key_c", "key_a", "key_b"):
            await store.put_key(stored_key(name))
        first = await store.keys(after="", limit=2)
        assert [item.key for item in first] == ["key_a", "key_b"]
        assert [item.key for item in await store.keys(after="key_b", limit=2)] == ["key_c"]
        assert await store.key("key_c") == stored_key("key_c")
        assert await store.key("key_d") is None
        assert await store.key_policy("key_c") == stored_key("key_c").policy
        assert await store.key_policy("key_d") is None

    async def test_prepared_ceremony_is_returned_until_its_key_is_there(self, store: Store, reopen: Reopen) -> None:
        """A commit survives a crash and is finished by the key it makes."""
        ceremony = StoredCeremony(session=b"s" * 32, reference="opr_a/key:1", key="key_a", commit=b"c", order=b"o")
        await store.put_ceremony(ceremony)
        store = await reopen()
        assert await store.unfinished() == [ceremony]
        await store.put_key(stored_key("key_a"), session=ceremony.session)
        assert await store.unfinished() == []
        found = await store.ceremony(ceremony.session)
        assert found is not None
        assert found.finished
        assert await store.ceremony_for("opr_a/key:1") == found
        assert await store.ceremony_for("opr_a/key:2") is None

    async def test_operation_is_kept_once(self, store: Store, reopen: Reopen) -> None:
        """The same id again changes nothing, and what was kept survives a crash."""
        assert await store.put_operation(operation(), {"kind": "operation"})
        assert not await store.put_operation(operation(state="running"), {"kind": "operation"})
        store = await reopen()
        assert await store.operation("op_a") == operation()
        assert await store.operation("op_b") is None
        assert len(await store.audit(after=0, limit=10)) == 1

    async def test_operation_changes_only_from_an_expected_state(self, store: Store) -> None:
        """Of two who decide about one operation the second is told that it came late."""
        await store.put_operation(operation(), {"kind": "operation"})
        done = replace(operation(), state="rejected", updated_at=1001, status=409, result=b"{}", details=b"e")
        waiting = frozenset({"waiting"})
        assert await store.change_operation(done, expected=waiting, audit={"kind": "operation"})
        late = replace(done, state="running")
        assert not await store.change_operation(late, expected=waiting, audit={"kind": "operation"})
        assert await store.operation("op_a") == done
        assert len(await store.audit(after=0, limit=10)) == 2

    async def test_operations_come_in_pages_by_principal_and_state(self, store: Store) -> None:
        """A list holds what was asked for, by id."""
        for name, state, principal in (
            ("op_b", "waiting", "agt_a"),
            ("op_a", "running", "agt_a"),
            ("op_c", "waiting", "agt_b"),
        ):
            await store.put_operation(operation(name, state=state, principal=principal), {"kind": "operation"})

        async def names(**asked: Any) -> list[str]:
            return [item.operation for item in await store.operations(**{"after": "", "limit": 10} | asked)]

        assert await names() == ["op_a", "op_b", "op_c"]
        assert await names(limit=1, after="op_a") == ["op_b"]
        assert await names(principal="agt_a") == ["op_a", "op_b"]
        assert await names(states=frozenset({"waiting"})) == ["op_b", "op_c"]
        assert await names(principal="agt_b", states=frozenset({"running"})) == []
