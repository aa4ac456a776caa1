"""Rosters live: handed in over HTTP or straight to the nodes, in force everywhere, while agents keep signing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url
from enclave.ids import new_id
from enclave.roster import OperatorEntry, Role, Roster
from enclave.signing_key import SigningKey
from kms.client import Client, OperatorCredentials
from kms.client.caller import Caller
from kms.client.errors import UnavailableError
from kms.client.trust import TrustAnchors
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")

READY_S = 90.0
"""Longest wait for every node to show itself anew, on a loaded machine."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fabric(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fabric]:
    """A cluster of its own: these tests change its roster."""
    made = Fabric(tmp_path_factory.mktemp("rosters"))
    try:
        await made.start()
        yield made
    finally:
        await made.close()


def anchors(fabric: Fabric) -> TrustAnchors:
    """What a client of the developer's cluster file pins, without anything followed yet."""
    return TrustAnchors(
        cluster_id=fabric.roster.cluster_id,
        simulated_roots=fabric.roster.simulated_roots,
        roster=fabric.layout.roster.read_bytes(),
    )


@contextlib.asynccontextmanager
async def client_of(
    fabric: Fabric, *, url: str | None = None, trust: TrustAnchors | None = None
) -> AsyncIterator[Client]:
    """The operator's client."""
    credentials = OperatorCredentials(issuer=fabric.operator_id, key=fabric.operator)
    async with Client.connect(url=fabric.url, trust=trust or anchors(fabric), credentials=credentials) as client:
        yield client


def successor(fabric: Fabric, **changes: Any) -> bytes:
    """The next version, signed by the operator."""
    old = fabric.gateway.roster
    values: dict[str, Any] = {"version": old.version + 1, "cluster": old.cluster_id, "previous": old.digest}
    return replace(old, **values | changes).sign(fabric.operator)


def with_operator(roster: Roster) -> dict[str, Any]:
    """One more administrator: a relaxation."""
    key = SigningKey.generate()
    entry = OperatorEntry(operator=new_id("opr"), name="second", key=key.public.key, roles=frozenset({Role.ADMIN}))
    return {"operators": (*roster.operators, entry)}


async def hand_in(fabric: Fabric, envelope: bytes) -> tuple[int, Any]:
    """POST /v1/roster as the operator."""
    body = canonical_json({"document": Envelope.parse(envelope).to_json()})
    return await fabric.ask("POST", "/v1/roster", token=fabric.operator_token("documents.put", "*", body), body=body)


async def sign(fabric: Fabric, key: dict[str, Any]) -> int:
    """The agent asks for a signature; the status."""
    body = canonical_json({"kind": "message", "message": b64url(b"hello")})
    token = fabric.token("sign", f"{key['key']}/1", body)
    status, _ = await fabric.ask("POST", f"/v1/keys/{key['key']}/sign", token=token, body=body)
    return status


async def test_signing_never_stops_while_a_roster_comes_into_force(fabric: Fabric) -> None:
    """A relaxation handed in over HTTP is in force at all nodes at once; every request meanwhile is signed."""
    key = await fabric.create_key()
    assert key["accept_common"] == ["operator"]
    statuses: list[int] = []

    async def keep_signing() -> None:
        while True:
            statuses.append(await sign(fabric, key))

    load = asyncio.create_task(keep_signing())
    status, answer = await hand_in(fabric, successor(fabric, **with_operator(fabric.gateway.roster)))
    assert (status, answer["version"]) == (200, 2)
    assert sorted(item["slot"] for item in answer["acknowledgements"]) == fabric.slots
    assert {node["version"] for node in answer["nodes"]} == {2}
    await fabric.trusted(*fabric.slots)
    async with asyncio.timeout(READY_S):
        while {node.roster.version for node in fabric.nodes.values()} != {2} or not _shown_anew(fabric):
            await asyncio.sleep(0.05)
    before = len(statuses)
    while len(statuses) < before + 5:
        await asyncio.sleep(0.01)
    load.cancel()
    await asyncio.gather(load, return_exceptions=True)
    assert set(statuses) == {200}


def _shown_anew(fabric: Fabric) -> bool:
    """Whether every node holds evidence of every peer that names its roster in force."""
    digests = {
        node.verdicts._rows[slot].presentation.identity.roster_digest
        for node in fabric.nodes.values()
        for slot in fabric.slots
    }
    return digests == {fabric.gateway.roster.digest}


async def test_clients_follow_and_new_ones_walk_the_chain(fabric: Fabric) -> None:
    """A client from before, and one with only the cluster id, verify the cluster under the newest version."""
    async with client_of(fabric) as client:
        view = await client.verify()
        version = fabric.gateway.roster.version
        assert view.roster.version == version
        assert {view.version_at(slot) for slot in fabric.slots} == {version}
        await hand_in(fabric, successor(fabric, limits={"keys": 1000}))
        assert (await client.verify(again=True)).roster.version == version + 1
        assert len(client.trust.followed.rosters) == version + 1


async def test_a_gateway_that_is_away_does_not_keep_a_roster_back(fabric: Fabric) -> None:
    """Straight to the nodes, a version is acknowledged and put in force without any gateway; it learns of it later."""
    trust = anchors(fabric)
    async with client_of(fabric, trust=trust) as client:
        await client.verify()
    envelope = successor(fabric, **with_operator(fabric.gateway.roster))
    version = fabric.gateway.roster.version + 1

    async with client_of(fabric, trust=trust) as client:
        client.rosters._caller = _Withheld(client.rosters._caller)  # type: ignore[assignment]
        report = await client.rosters.apply(envelope)
    assert report.relayed == "unavailable.connection"
    assert (report.held, sorted(report.acknowledged), sorted(report.in_force)) == (True, fabric.slots, fabric.slots)
    assert {node.rosters.active.version for node in fabric.nodes.values()} == {version}
    status, _ = await hand_in(fabric, envelope)
    assert (status, fabric.gateway.roster.version) == (200, version)
    await fabric.trusted(*fabric.slots)


class _Withheld:
    """A gateway that answers every question and takes nothing."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._caller, name)

    async def call(self, *_arguments: Any, **_options: Any) -> Any:
        """Take nothing."""
        raise UnavailableError("the gateway did not answer", code="unavailable.connection")


async def test_bad_rosters_are_refused_at_the_door(fabric: Fabric) -> None:
    """Skipped and unsigned versions are refused with a code and change nothing."""
    version = fabric.gateway.roster.version
    roster = fabric.gateway.roster
    bad = {
        "roster.chain": successor(fabric, version=version + 2),
        "roster.signatures": replace(
            roster, version=version + 1, cluster=roster.cluster_id, previous=roster.digest, **with_operator(roster)
        ).sign(fabric.operator),
    }
    stripped = Envelope.parse(bad["roster.signatures"])
    bad["roster.signatures"] = canonical_json(replace(stripped, signatures=()).to_json())
    for code, envelope in bad.items():
        status, answer = await hand_in(fabric, envelope)
        assert (status >= 400, answer["code"]) == (True, code)
    assert fabric.gateway.roster.version == version


async def test_gateway_and_nodes_come_back_to_the_newest_version(fabric: Fabric) -> None:
    """Restarted with version 1 in their configuration, gateway and node go on with the newest version."""
    version = fabric.gateway.roster.version
    assert version > 1
    await fabric.stop_gateway()
    await fabric.stop_node("node-1")
    await fabric.start_node("node-1")
    assert fabric.nodes["node-1"].roster.version == version
    await fabric.start_gateway()
    assert fabric.gateway.roster.version == version
    await fabric.trusted(*fabric.slots)
    key = await fabric.create_key()
    assert await sign(fabric, key) == 200
