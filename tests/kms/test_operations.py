"""Operations end once, expire, wake who waits, and never keep a plaintext."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from enclave.errors import RefusedError
from kms.admission import Outcome
from kms.errors import ConflictError, NotFoundError
from kms.operations import Operations, State, accepted, operation_id, operation_json, wait_of
from kms.problems import encode
from kms.store.protocol import StoredOperation
from kms.store.sqlite import SqliteStore

ID = operation_id(b"one request")


class Clock:
    """A clock the test sets."""

    now = 1000

    def __call__(self) -> int:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Stands still."""
    return Clock()


@pytest.fixture
async def operations(tmp_path: Path, clock: Clock) -> AsyncIterator[Operations]:
    """On an empty store."""
    store = SqliteStore(tmp_path)
    made = Operations(store, clock=clock)
    yield made
    await made.close()
    await store.close()


async def begin(operations: Operations, state: State = State.RUNNING) -> StoredOperation:
    """An operation that expires at 2000."""
    begun, _ = await operations.begin(
        operation=ID, kind="test", principal="agt_a", resource="key_a/1", expires_at=2000, state=state
    )
    return begun


async def test_result_of_the_work_becomes_the_result(operations: Operations) -> None:
    """Work in the background ends its operation with what a request would have been answered."""
    begun = await begin(operations)

    async def work() -> Outcome:
        return Outcome(status=201, body=b'{"a":1}')

    operations.run(begun, work)
    ended = await operations.wait(ID, 5)
    assert (ended.state, ended.status, ended.result) == (State.SUCCEEDED, 201, b'{"a":1}')


async def test_plaintext_is_not_kept(operations: Operations) -> None:
    """Of a result that holds a plaintext only the status stays."""
    begun = await begin(operations)

    async def work() -> Outcome:
        return Outcome(status=200, body=b'{"plaintext":"x"}', is_secret=True)

    operations.run(begun, work)
    ended = await operations.wait(ID, 5)
    assert (ended.state, ended.status, ended.result) == (State.SUCCEEDED, 200, None)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [(RefusedError("no", code="policy.denied"), "policy.denied", 403), (RuntimeError("s3cret"), "internal", 500)],
)
async def test_error_becomes_the_problem(operations: Operations, error: Exception, code: str, status: int) -> None:
    """A refusal keeps its code; a defect says nothing of itself."""
    begun = await begin(operations)

    async def work() -> Outcome:
        raise error

    operations.run(begun, work)
    ended = await operations.wait(ID, 5)
    shown = encode(operation_json(ended)).decode()
    assert (ended.state, ended.status) == (State.FAILED, status)
    assert f'"code":"{code}"' in shown
    assert "s3cret" not in shown


async def test_same_request_finds_the_same_operation(operations: Operations) -> None:
    """A repeat begins nothing new."""
    begun = await begin(operations, State.WAITING)
    again, is_new = await operations.begin(
        operation=ID, kind="test", principal="agt_a", resource="key_a/1", expires_at=9999
    )
    assert not is_new
    assert again == begun
    assert operation_id(b"another") != ID


async def test_only_one_of_two_decisions_counts(operations: Operations) -> None:
    """Whoever comes second learns what the operation became."""
    begun = await begin(operations, State.WAITING)
    await operations.move(begun, State.REJECTED)
    with pytest.raises(ConflictError) as caught:
        await operations.move(begun, State.RUNNING)
    assert caught.value.code == "operation.state"
    assert "rejected" in caught.value.detail


async def test_waiting_operation_expires(operations: Operations, clock: Clock) -> None:
    """At its time, not before, what nobody decided is over."""
    await begin(operations, State.WAITING)
    clock.now = 1999
    assert (await operations.get(ID)).state == State.WAITING
    clock.now = 2000
    assert (await operations.get(ID)).state == State.EXPIRED


async def test_running_operation_does_not_expire(operations: Operations, clock: Clock) -> None:
    """What has begun is not taken back by time."""
    await begin(operations)
    clock.now = 3000
    assert (await operations.get(ID)).state == State.RUNNING


async def test_everybody_who_waits_is_woken(operations: Operations) -> None:
    """One who gives up early does not take the news from another."""
    begun = await begin(operations, State.WAITING)
    patient = asyncio.ensure_future(operations.wait(ID, 10))
    assert (await operations.wait(ID, 0)).state == State.WAITING
    await operations.move(begun, State.CANCELLED)
    assert (await asyncio.wait_for(patient, 2)).state == State.CANCELLED


async def test_unknown_operation(operations: Operations) -> None:
    """There is no operation under an id nobody began."""
    with pytest.raises(NotFoundError):
        await operations.wait(operation_id(b"none"), 1)


async def test_start_closes_or_resumes_what_ran(tmp_path: Path, clock: Clock) -> None:
    """After a crash a kind that can go on is taken up, any other has failed, and what waits still waits."""
    store = SqliteStore(tmp_path)
    first = Operations(store, clock=clock)
    for name, kind, state in (
        (b"lost", "lost", State.RUNNING),
        (b"kept", "kept", State.RUNNING),
        (b"waits", "lost", State.WAITING),
    ):
        await first.begin(
            operation=operation_id(name), kind=kind, principal="a", resource="*", expires_at=2000, state=state
        )
    taken: list[str] = []

    async def resume(operation: StoredOperation) -> None:
        taken.append(operation.operation)

    second = Operations(store, clock=clock)
    second.resumed_by("kept", resume)
    await second.start()
    await asyncio.sleep(0)
    assert taken == [operation_id(b"kept")]
    lost = await second.get(operation_id(b"lost"))
    assert (lost.state, b"operation.interrupted" in (lost.result or b"")) == (State.FAILED, True)
    assert (await second.get(operation_id(b"waits"))).state == State.WAITING
    await second.close()
    await store.close()


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0), ("wait=5", 5), ("respond-async, wait=7", 7), ("wait=999999", 20), ("wait=-1", 0), ("wait=x", 0),
        ("WAIT=3;foo", 3), ("return=minimal", 0), ("wait=0000000000005", 0),
    ],
)  # fmt: skip
def test_prefer_wait_is_bounded(prefer: str | None, seconds: int) -> None:
    """RFC 7240 preferences that do not read are ignored, and nobody waits longer than the bound."""
    assert wait_of(prefer) == seconds


async def test_accepted_shows_the_operation(operations: Operations) -> None:
    """The 202 names id, kind and state."""
    outcome = accepted(await begin(operations))
    assert outcome.status == 202
    assert f'"operation":"{ID}","kind":"test","state":"running"'.encode() in outcome.body
