"""Refresh, reshare, rotate and repair through the gateway, while agents go on signing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from nacl.signing import VerifyKey

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url, b64url_decode
from enclave.ceremonies.facts import Kind
from enclave.ceremonies.orders import CeremonyOrder, KeyRef
from enclave.ids import new_id
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")


def order(fabric: Fabric, action: str, *records: dict[str, Any], **changes: Any) -> CeremonyOrder:
    """An unsigned order about keys as their records show them."""
    now = int(time.time())
    fields: dict[str, Any] = {
        "cluster": fabric.roster.cluster_id,
        "order": new_id("op"),
        "action": Kind(action),
        "keys": tuple(
            KeyRef(key=record["key"], version=record["version"], epoch=record["epoch"]) for record in records
        ),
        "issued_at": now,
        "expires_at": now + 600,
    }
    return CeremonyOrder(**(fields | changes))


async def carried_out(fabric: Fabric, path: str, wanted: CeremonyOrder) -> tuple[int, Any]:
    """Hand in an order and wait for what comes of it."""
    envelope = Envelope.parse(wanted.sign(fabric.operator))
    body = canonical_json({"document": envelope.to_json()})
    token = fabric.operator_token("documents.put", wanted.order, body)
    return await fabric.ask("POST", path, token=token, body=body, headers={"Prefer": "wait=20"})


async def shown(fabric: Fabric, key: str) -> dict[str, Any]:
    """The key's record now."""
    status, record = await fabric.ask("GET", f"/v1/keys/{key}", token=fabric.token("keys.get", key, b""))
    assert status == 200, record
    return dict(record)


async def test_a_refresh_under_signing_fails_no_signature(fabric: Fabric) -> None:
    """Agents sign all the time while every share changes; the record shows the next epoch and the same key."""
    records = [await fabric.create_key(name=f"busy-{number}") for number in range(6)]
    stop = asyncio.Event()
    outcomes: list[int] = []

    async def sign() -> None:
        while not stop.is_set():
            status, answer = await fabric.sign(records[0], b"load")
            outcomes.append(status)
            VerifyKey(bytes.fromhex(records[0]["public_key"])).verify(
                b"load", b64url_decode(answer["signature"]["ed25519"])
            )

    load = [asyncio.create_task(sign()) for _ in range(3)]
    status, answer = await carried_out(fabric, "/v1/ceremonies", order(fabric, "refresh", *records))
    stop.set()
    await asyncio.gather(*load)
    assert status == 200, answer
    assert answer["failed"] == {}
    assert {item["epoch"] for item in answer["keys"]} == {2}
    assert set(outcomes) == {200}
    after = await shown(fabric, records[0]["key"])
    assert (after["epoch"], after["public_key"]) == (2, records[0]["public_key"])
    assert (await fabric.sign(records[0], b"after"))[0] == 200


async def test_a_key_moves_and_comes_back(fabric: Fabric) -> None:
    """Reshare to three nodes, then to all five with another threshold."""
    record = await fabric.create_key(name="moving")
    path = f"/v1/keys/{record['key']}/reshare"
    wanted = order(fabric, "reshare", record, nodes=("node-1", "node-3", "node-5"), shares_needed=2)
    status, answer = await carried_out(fabric, path, wanted)
    assert status == 200, answer
    moved = await shown(fabric, record["key"])
    assert (moved["nodes"], moved["shares_needed"]) == (["node-1", "node-3", "node-5"], 2)
    assert (await fabric.sign(moved, b"x"))[0] == 200
    nodes = tuple(entry.slot for entry in fabric.roster.slots)
    status, answer = await carried_out(fabric, path, order(fabric, "reshare", moved, nodes=nodes, shares_needed=3))
    assert status == 200, answer
    assert (await fabric.sign(await shown(fabric, record["key"]), b"y"))[0] == 200


async def test_a_rotation_keeps_the_version_before(fabric: Fabric) -> None:
    """A new public key under the same id; a token for version 1 still signs with the old one."""
    record = await fabric.create_key(name="turning")
    status, answer = await carried_out(fabric, f"/v1/keys/{record['key']}/rotate", order(fabric, "rotate", record))
    assert status == 200, answer
    after = await shown(fabric, record["key"])
    assert after["version"] == 2
    assert after["public_key"] != record["public_key"]
    body = canonical_json({"kind": "message", "message": b64url(b"both")})
    for version, public in ((1, record["public_key"]), (2, after["public_key"])):
        token = fabric.token("sign", f"{record['key']}/{version}", body)
        status, signed = await fabric.ask("POST", f"/v1/keys/{record['key']}/sign", token=token, body=body)
        assert status == 200, signed
        VerifyKey(bytes.fromhex(public)).verify(b"both", b64url_decode(signed["signature"]["ed25519"]))


async def test_a_repair_finds_what_is_lost(fabric: Fabric) -> None:
    """An order that names no keys brings back everything a node should hold."""
    records = [await fabric.create_key(name=f"lost-{number}") for number in range(3)]
    node = fabric.nodes["node-2"]
    for record in records:
        node.keys.drop(record["key"], 1, now=int(time.time()))
    status, answer = await carried_out(fabric, "/v1/nodes/node-2/repair", order(fabric, "repair", target="node-2"))
    assert status == 200, answer
    assert {item["key"] for item in answer["keys"]} >= {record["key"] for record in records}
    assert all(node.keys.knows(record["key"]) for record in records)


async def test_orders_are_checked_before_anything_begins(fabric: Fabric) -> None:
    """Another key, another action, too few signatures, an order of another day."""
    record = await fabric.create_key(name="checked")
    path = f"/v1/keys/{record['key']}/refresh"
    wrong = order(fabric, "rotate", record)
    assert (await carried_out(fabric, path, wrong))[1]["code"] == "ceremony.order"
    assert (await carried_out(fabric, "/v1/keys/key_" + "a" * 26 + "/refresh", order(fabric, "refresh", record)))[1][
        "code"
    ] == "ceremony.order"
    late = order(fabric, "refresh", record, issued_at=1000, expires_at=2000)
    assert (await carried_out(fabric, path, late))[1]["code"] == "order.expired"
    unsigned = order(fabric, "refresh", record)
    body = canonical_json({"document": Envelope.parse(unsigned.sign(fabric.agent)).to_json()})
    token = fabric.operator_token("documents.put", unsigned.order, body)
    assert (await fabric.ask("POST", path, token=token, body=body))[1]["code"] == "order.quorum"
    stale = order(fabric, "refresh", record | {"epoch": 7})
    assert (await carried_out(fabric, path, stale))[1]["code"] == "key.epoch"


async def test_a_gateway_that_missed_a_refresh_learns_it_when_it_signs(fabric: Fabric) -> None:
    """Another gateway renewed the key: the old certificate is refused, learnt anew, and the request succeeds."""
    record = await fabric.create_key(name="elsewhere")
    before = await fabric.gateway.keyring.get(record["key"])
    status, _ = await carried_out(fabric, f"/v1/keys/{record['key']}/refresh", order(fabric, "refresh", record))
    assert status == 200
    assert before is not None
    fabric.gateway.keyring.put(before)
    for node in fabric.nodes.values():
        node.keys.expire(int(time.time()) + 60)
    assert (await fabric.sign(record, b"late"))[0] == 200
    found = await fabric.gateway.keyring.get(record["key"])
    assert found is not None
    assert found.certificate.epoch == 2
