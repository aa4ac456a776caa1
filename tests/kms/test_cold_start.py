"""Everything restarted at once behind a gateway: nodes wait, one operator's document lets them go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from attestation.canonical import canonical_json
from enclave.signing_key import SigningKey
from enclave.witness import standing
from enclave.witness.cold_start import ColdStart
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="function")


@pytest_asyncio.fixture
async def restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Fabric, dict[str, Any]]]:
    """A cluster whose nodes all stopped and started again, and that asks an operator as in production; and its key."""
    fabric = Fabric(tmp_path)
    await fabric.start()
    try:
        key = await fabric.create_key()
        monkeypatch.setattr(standing, "_asks_operator", lambda _roster: True)
        for slot in fabric.slots:
            await fabric.stop_node(slot)
        for slot in fabric.slots:
            await fabric.start_node(slot)
        yield fabric, key
    finally:
        await fabric.close()


async def refusing(fabric: Fabric, code: str) -> list[dict[str, Any]]:
    """The nodes, once all of them give this reason."""
    async with asyncio.timeout(30):
        while True:
            _, answer = await fabric.ask("GET", "/v1/nodes")
            if all(node["connected"] and node["refuses"] == code for node in answer["nodes"]):
                return list(answer["nodes"])
            await asyncio.sleep(0.05)


async def hand_in(fabric: Fabric, nodes: list[dict[str, Any]], signer: SigningKey, **changes: Any) -> tuple[int, Any]:
    """A confirmation of what the nodes say, as the command line makes it."""
    counters = {
        node["slot"]: (node["heartbeat"]["counter"], bytes.fromhex(node["heartbeat"]["digest"])) for node in nodes
    }
    fields: dict[str, Any] = {"cluster": fabric.roster.cluster_id, "incarnation": 1, "counters": counters} | changes
    envelope = ColdStart(**fields).envelope().signed(signer.ed25519)
    body = canonical_json({"document": envelope.to_json()})
    token = fabric.operator_token("documents.put", "*", body)
    return await fabric.ask("POST", "/v1/cold-start", token=token, body=body)


async def test_an_operator_lets_the_cluster_go_on(restarted: tuple[Fabric, dict[str, Any]]) -> None:
    """Nobody signs before; a stranger's word and wrong counters change nothing; afterwards the key signs as ever."""
    fabric, key = restarted
    nodes = await refusing(fabric, "cold-start")
    assert all(node["heartbeat"]["counter"] > 0 for node in nodes)
    assert (await fabric.sign(key, b"early"))[0] == 503
    status, answer = await hand_in(fabric, nodes, SigningKey.generate())
    assert (status, answer["code"]) == (403, "document.quorum")
    wrong = {slot: (0, bytes(32)) for slot in fabric.slots}
    status, answer = await hand_in(fabric, nodes, fabric.operator, counters=wrong)
    assert (status, set(answer["nodes"].values())) == (200, {"cold-start.differs"})
    status, answer = await hand_in(fabric, nodes, fabric.operator)
    assert (status, set(answer["nodes"].values())) == (200, {""})
    await refusing(fabric, "")
    await fabric.trusted(*fabric.slots)
    assert (await fabric.sign(key, b"again"))[0] == 200
