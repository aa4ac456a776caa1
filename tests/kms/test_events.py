"""Events over HTTP: who sees what, resuming without gaps, ends of streams, and a thousand beside signatures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from enclave.ids import new_id
from enclave.roster import Role
from enclave.signing_key import SigningKey
from kms.client import AgentCredentials, Client, OperatorCredentials
from kms.client.trust import TrustAnchors
from kms.errors import UnavailableError
from kms.events import OWN_MAX, RESERVED, SUBSCRIBERS_MAX, EventFeed
from kms.routes.events import LOOK_S
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")

READY_S = 10.0


@contextlib.asynccontextmanager
async def stream(
    fabric: Fabric, *, agent: bool = False, headers: dict[str, str] | None = None, query: str = ""
) -> AsyncIterator[aiohttp.ClientResponse]:
    """An open stream of the operator or the agent."""
    token = fabric.token("events.read", "*", b"") if agent else fabric.operator_token("events.read", "*", b"")
    sent = {"Authorization": f"Bearer {token}", **(headers or {})}
    async with fabric._session.get(f"{fabric.url}/v1/events{query}", headers=sent) as answer:
        yield answer


async def read(answer: aiohttp.ClientResponse, count: int) -> list[dict[str, Any]]:
    """The next events: position, kind and entry."""
    events: list[dict[str, Any]] = []
    fields: dict[str, str] = {}
    async with asyncio.timeout(READY_S):
        while len(events) < count:
            line = (await answer.content.readline()).decode().rstrip("\n")
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif not line and "data" in fields:
                events.append({"id": int(fields["id"]), "event": fields["event"], "data": json.loads(fields["data"])})
                fields = {}
    return events


async def act(fabric: Fabric, record: dict[str, Any], count: int = 1) -> None:
    """Leave traces."""
    for number in range(count):
        status, answer = await fabric.sign(record, b"%d" % number)
        assert status == 200, answer


async def test_an_operator_sees_what_happens(fabric: Fabric) -> None:
    """Intent and result of a signature, with the positions of the audit chain."""
    record = await fabric.create_key(name="events-one")
    async with stream(fabric) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        await act(fabric, record)
        intent, result = await read(answer, 2)
    assert (intent["event"], result["event"]) == ("intent", "result")
    assert intent["data"]["request"] == result["data"]["request"]
    assert result["id"] == intent["id"] + 1
    entries = await fabric.gateway.store.audit(after=intent["id"] - 1, limit=2)
    assert [json.loads(entry.body) for entry in entries] == [intent["data"], result["data"]]


async def test_nothing_is_missed_between_two_streams(fabric: Fabric) -> None:
    """What happened while away comes first, exactly once, then what happens now."""
    record = await fabric.create_key(name="events-two")
    async with stream(fabric) as answer:
        await act(fabric, record)
        last = (await read(answer, 2))[-1]["id"]
    await act(fabric, record, 5)
    async with stream(fabric, headers={"Last-Event-ID": str(last)}) as answer:
        await act(fabric, record)
        events = await read(answer, 12)
    assert [event["id"] for event in events] == list(range(last + 1, last + 13))


async def test_the_whole_chain_can_be_read_again(fabric: Fabric) -> None:
    """From the first entry, also past what is kept in memory."""
    fabric.gateway.events._recent.clear()
    head = fabric.gateway.store.audit_position
    async with stream(fabric, query="?after=0") as answer:
        events = await read(answer, head)
    assert [event["id"] for event in events[:head]] == list(range(1, head + 1))
    assert events[0]["event"] == "start"


async def test_an_agent_sees_its_own(fabric: Fabric) -> None:
    """Nobody else's requests, and no documents of operators."""
    record = await fabric.create_key(name="events-three")
    async with stream(fabric, agent=True, query="?after=0") as answer:
        await act(fabric, record)
        events = await read(answer, 2)
        assert {event["data"]["principal"] for event in events} == {fabric.agent_id}


@pytest.mark.parametrize("after", ["-1", "x", "1e3", "99999999999999999999", ""])
async def test_a_position_is_a_number(fabric: Fabric, after: str) -> None:
    """Anything else is refused, in the header and in the query."""
    for options in ({"headers": {"Last-Event-ID": after}}, {"query": f"?after={after}"}):
        async with stream(fabric, **options) as answer:  # type: ignore[arg-type]
            assert answer.status == 400
            assert (await answer.json())["code"] == "request.after"


async def test_a_position_in_the_future_waits(fabric: Fabric) -> None:
    """It is where a client of a gateway that was restored may be: it gets nothing, and no error."""
    async with stream(fabric, headers={"Last-Event-ID": str(2**53 - 1)}) as answer:
        assert answer.status == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await read(answer, 1)


async def test_a_token_for_something_else_opens_no_stream(fabric: Fabric) -> None:
    """The act is its own."""
    token = fabric.token("audit.read", "*", b"")
    async with fabric._session.get(f"{fabric.url}/v1/events", headers={"Authorization": f"Bearer {token}"}) as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, "token.act")


async def test_a_stream_ends_with_its_credential(fabric: Fabric) -> None:
    """A revoked agent is told nothing more."""
    agent, key = new_id("agt"), SigningKey.generate()
    document = fabric.agent_document(agent=agent, name="short", keys=(key.public,))
    status, answer = await fabric.put("POST", "/v1/agents", document)
    assert status == 200, answer
    credentials = AgentCredentials(issuer=agent, key=key)
    token = credentials.token(
        cluster=fabric.roster.cluster_id, act="events.read", resource="*", body=b"", method="GET", path="/v1/events",
        now=int(time.time()),
    )  # fmt: skip
    async with fabric._session.get(f"{fabric.url}/v1/events", headers={"Authorization": f"Bearer {token}"}) as stream:
        assert stream.status == 200
        revoked = fabric.agent_document(agent=agent, name="short", keys=(key.public,), state="revoked", sequence=2)
        status, answer = await fabric.put("POST", f"/v1/agents/{agent}/revoke", revoked)
        assert status == 200, answer
        async with asyncio.timeout(READY_S):
            await stream.content.read(-1)


async def test_the_library_follows(fabric: Fabric) -> None:
    """`client.events.follow` goes on where the connection broke."""
    record = await fabric.create_key(name="events-four")
    trust = TrustAnchors(
        cluster_id=fabric.roster.cluster_id,
        simulated_roots=fabric.roster.simulated_roots,
        roster=fabric.layout.roster.read_bytes(),
    )
    credentials = OperatorCredentials(issuer=fabric.operator_id, key=fabric.operator)
    async with Client.connect(url=fabric.url, trust=trust, credentials=credentials) as client:
        start = fabric.gateway.store.audit_position
        await act(fabric, record, 2)
        found = []
        async with asyncio.timeout(READY_S):
            async for event in client.events.follow(after=start):
                found.append(event.position)
                if len(found) == 2:
                    transport = client.caller.transport
                    assert transport._session is not None
                    await transport._session.close()
                    transport._session = None
                if len(found) == 4:
                    break
    assert found == [start + number for number in range(1, 5)]


async def test_a_thousand_subscribers_do_not_hold_up_signatures(fabric: Fabric) -> None:
    """The median of signing beside a thousand streams is at most twice the quiet one, plus a loaded machine's part."""
    record = await fabric.create_key(name="events-five")

    async def median(count: int) -> float:
        times = []
        for _ in range(count):
            started = time.perf_counter()
            await act(fabric, record)
            times.append(time.perf_counter() - started)
        return sorted(times)[count // 2]

    quiet = await median(40)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, contextlib.AsyncExitStack() as stack:
        token = fabric.operator_token("events.read", "*", b"")
        fabric.gateway.admissions.limiter._burst = 5000
        for _ in range(20):
            opened = await asyncio.gather(
                *(
                    session.get(f"{fabric.url}/v1/events", headers={"Authorization": f"Bearer {token}"})
                    for _ in range(50)
                )
            )
            for answer in opened:
                assert answer.status == 200
                stack.callback(answer.close)
        assert fabric.gateway.events.subscribers >= 1000
        loud = await median(40)
    assert loud < 2 * quiet + 0.05, (quiet, loud)
    async with asyncio.timeout(READY_S):
        while fabric.gateway.events.subscribers:
            await asyncio.sleep(0.05)


async def test_one_agent_does_not_take_everybodys_place(fabric: Fabric) -> None:
    """Beyond its own streams an agent is refused; others and operators go on."""
    feed = fabric.gateway.events
    for _ in range(OWN_MAX):
        feed.join(fabric.agent_id, is_operator=False)
    assert feed.subscribers >= OWN_MAX
    async with stream(fabric, agent=True) as answer:
        assert (answer.status, (await answer.json())["code"]) == (503, "events.full")
    async with stream(fabric) as answer:
        assert answer.status == 200
    for _ in range(OWN_MAX):
        feed.leave(fabric.agent_id)
    async with stream(fabric, agent=True) as answer:
        assert answer.status == 200


async def test_many_agents_leave_room_for_operators(fabric: Fabric) -> None:
    """However many agents there are, some streams stay for those who watch them."""
    feed = EventFeed(fabric.gateway.store)
    for number in range(SUBSCRIBERS_MAX - RESERVED):
        feed.join(f"agt_{number % 100}", is_operator=False)
    with pytest.raises(UnavailableError):
        feed.join("agt_new", is_operator=False)
    for _ in range(RESERVED):
        feed.join(fabric.operator_id, is_operator=True)
    with pytest.raises(UnavailableError):
        feed.join(fabric.operator_id, is_operator=True)


async def test_a_role_taken_away_ends_what_it_shows(fabric: Fabric) -> None:
    """An operator who is no auditor any more sees own entries only, in a stream that was open before."""
    record = await fabric.create_key(name="events-six")
    async with stream(fabric) as answer:
        await act(fabric, record)
        await read(answer, 2)
        directory = fabric.gateway.directory
        held = directory._operators
        directory._operators = {name: replace(entry, roles=frozenset({Role.REGISTRAR})) for name, entry in held.items()}
        try:
            await asyncio.sleep(2 * LOOK_S)
            await act(fabric, record)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3 * LOOK_S):
                    await read(answer, 1)
        finally:
            directory._operators = held
