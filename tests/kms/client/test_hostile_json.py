"""Answers of any shape: whatever JSON a gateway sends, the client raises only its typed errors.

Real answers are recorded once; then every member, at every depth, is replaced by values of other types
and removed.  A changed answer may only be accepted where what the client returns stays the same.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from attestation.errors import CodedError
from kms.client import Client
from kms.client import attestor as attestor_module
from tests.kms.client.hostile_gateway import hostile_gateway
from tests.kms.client.test_hostile_gateway import TRANSACTION
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster

JUNK: tuple[Any, ...] = (None, True, -1, 1 << 60, "", "x", "é" * 50, [], [[]], {}, {"x": {}})

Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in a JSON value; of lists only the first two items."""
    yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value[:2]):
            yield from places(item, (*path, number))


def changed(value: Any, path: Path, junk: Any) -> Any:
    """A copy with `junk` at `path`."""
    if not path:
        return junk
    result = copy.deepcopy(value)
    holder = result
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = junk
    return result


def removed(value: Any, path: Path) -> Any:
    """A copy without what is at `path`."""
    result = copy.deepcopy(value)
    holder = result
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    return result


def variants(answer: Any) -> Iterator[Any]:
    """Every change of an answer."""
    for path in places(answer):
        for junk in JUNK:
            yield changed(answer, path, junk)
        if path:
            yield removed(answer, path)


class Replayed:
    """A transport that gives one answer to everything."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answer: Any = None

    async def json(self, *_: Any, **__: Any) -> Any:
        """The answer, as parsed JSON."""
        return self.answer

    async def send(self, *_: Any, **__: Any) -> bytes:
        """The answer, as bytes."""
        return json.dumps(self.answer).encode()


Call = Callable[[Client], Coroutine[Any, Any, Any]]


async def _survives(client: Client, call: Call, answer: Any, shown: Callable[[Any], Any]) -> int:
    """Run `call` on every variant of `answer`; returns how many were tried."""
    transport = Replayed(client.caller.transport.url)
    client.caller.transport = transport  # type: ignore[assignment]
    transport.answer = answer
    honest = shown(await call(client))
    tried = 0
    for variant in variants(answer):
        tried += 1
        transport.answer = variant
        try:
            result = shown(await call(client))
        except CodedError:
            continue
        assert result == honest, variant
    return tried


async def _recorded(cluster: RunningCluster, path_end: str, call: Call, *, operator: bool = False) -> Any:
    """The real answer to `call` whose path ends so."""
    make = cluster.as_operator if operator else cluster.as_agent
    async with hostile_gateway(cluster.dev.url) as (gateway, url), make(url=url) as client:
        await call(client)
        return next(json.loads(content) for _, path, content in gateway.seen if path.endswith(path_end))


async def test_key_records(cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """No change to a key record gives anything but the certified key or a typed error."""
    monkeypatch.setattr(attestor_module.Attestor, "refresh", _same_view)
    async with cluster.as_operator() as client:
        key = (await client.keys.create("fuzzed-record", usage="evm", policy=cluster.policy)).key
        answer = await _recorded(cluster, key, lambda agent: agent.keys.get(key))
        await client.verify()

        def shown(found: Any) -> Any:
            # State and labels are the gateway's word and marked so; signers may become fewer.
            value = found.to_json()
            return {name: value[name] for name in value if name not in ("state", "labels", "certified_by")}

        assert await _survives(client, lambda it: it.keys.get(key), answer, shown) > 400


async def _same_view(_: Any, known: Any) -> Any:
    return known


async def test_signatures(cluster: RunningCluster) -> None:
    """No change to a sign answer gives anything but the verified signature or a typed error."""
    async with cluster.as_operator() as operator:
        key = (await operator.keys.create("fuzzed-sign", usage="evm", policy=cluster.policy)).key
    async with cluster.as_agent() as client:
        await client.keys.certified(key)
        answer = await _recorded(cluster, "/sign", lambda it: it.sign.evm_transaction(key, TRANSACTION))
        assert (
            await _survives(
                client,
                lambda it: it.sign.evm_transaction(key, TRANSACTION),
                answer,
                lambda signed: (signed.raw_transaction, signed.transaction_hash, signed.key),
            )
            > 100
        )


@pytest.mark.parametrize("what", ["agents", "policy", "audit"])
async def test_documents_and_audit(cluster: RunningCluster, what: str) -> None:
    """No change to a listing of documents or audit entries gives anything but what was signed, or a typed error."""
    async with cluster.as_operator() as client:
        roster = await client.roster()
        calls: dict[str, tuple[str, Call, Callable[[Any], Any]]] = {
            "agents": (
                "/v1/agents",
                lambda it: it.agents.list(roster=roster),
                lambda found: all(agent.cluster == roster.cluster_id for agent in found),
            ),
            "policy": (
                cluster.policy,
                lambda it: it.policies.get(cluster.policy, roster=roster),
                lambda found: found.payload(),
            ),
            "audit": ("/v1/audit", lambda it: it.audit.page(limit=2), lambda found: isinstance(found, list)),
        }
        path, call, shown = calls[what]
        answer = await _recorded(cluster, path, call, operator=True)
        assert await _survives(client, call, answer, shown) > 30


async def test_roster_collateral_and_evidence(cluster: RunningCluster) -> None:
    """Junk in place of any answer that verification reads is a typed error, or a node that is not trusted."""
    async with hostile_gateway(cluster.dev.url) as (gateway, url), cluster.as_agent(url=url) as client:
        for path_end in ("/v1/roster", "/v1/collateral", "/evidence"):
            for junk in JUNK:
                gateway.rewrite_bytes = lambda path, content, end=path_end, junk=junk: (
                    json.dumps(junk).encode() if path.endswith(end) else content
                )
                try:
                    view = await client.look()
                except CodedError:
                    continue
                assert view.identities == {}, (path_end, junk)
