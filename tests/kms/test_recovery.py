"""A gateway that stops, in order or not, loses nothing it acknowledged and leaves nothing half done."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from enclave.errors import RefusedError
from enclave.wire.message import Message
from kms.audit import verify_chain
from kms.client import AgentCredentials, Client, OperatorCredentials
from kms.client.cluster_file import ClusterFile
from kms.dev.cluster import DevCluster
from kms.dev.configs import write_gateway_config
from kms.dev.create import create
from kms.dev.ports import choose
from kms.store.sqlite import SqliteStore
from tests.kms.fabric import Fabric


def loses_commits(verb: str, _request: Message, reply: Message) -> Message:
    """A node whose answer to a commit never arrives."""
    if verb == "ceremony-commit":
        raise RefusedError("lost", code="ceremony.busy")
    return reply


@pytest.mark.asyncio(loop_scope="module")
async def test_committed_key_is_finished_after_a_restart(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all nodes prepared, the key comes to be although gateway and answers were lost, and only once."""
    for slot in fabric.slots:
        fabric.corrupt(slot, loses_commits)
    body = fabric.order(name="survivor")
    token = fabric.operator_token("keys.create", "*", body)
    options: dict[str, Any] = {"body": body, "headers": {"Idempotency-Key": "order-7"}}
    status, answer = await fabric.ask("POST", "/v1/keys", token=token, **options)
    assert (status, answer["code"]) == (503, "ceremony-unfinished")
    await fabric.stop_gateway()
    for slot in fabric.slots:
        fabric.corrupt(slot, None)
    monkeypatch.setattr("kms.gateway.RESUME_S", 0.1)
    await fabric.start_gateway()
    await fabric.trusted(*fabric.slots)
    async with asyncio.timeout(10):
        while not (found := await survivors(fabric)):
            await asyncio.sleep(0.05)
    status, again = await fabric.ask(
        "POST", "/v1/keys", token=fabric.operator_token("keys.create", "*", body), **options
    )
    assert (status, again["key"]) == (201, found[0]["key"])
    assert len(await survivors(fabric)) == 1
    status, _ = await fabric.sign(again, b"alive")
    assert status == 200


async def survivors(fabric: Fabric) -> list[dict[str, Any]]:
    """The keys that the order of this test made."""
    _, page = await fabric.ask("GET", "/v1/keys?limit=200", token=fabric.operator_token("keys.list", "*", b""))
    return [record for record in page["keys"] if record["name"] == "survivor"]


@pytest.mark.asyncio(loop_scope="module")
async def test_documents_and_keys_survive_a_restart(fabric: Fabric) -> None:
    """After an orderly stop everything is as before, old answers included."""
    record = await fabric.create_key(name="kept")
    body = b'{"kind":"message","message":"AAAA"}'
    token = fabric.token("sign", f"{record['key']}/1", body)
    path = f"/v1/keys/{record['key']}/sign"
    before = await fabric.send("POST", path, token=token, body=body)
    await fabric.stop_gateway()
    await fabric.start_gateway()
    await fabric.trusted(*fabric.slots)
    after = await fabric.send("POST", path, token=token, body=body)
    assert (before[0], after[0]) == (200, 200)
    assert before[1] == after[1]
    assert (await fabric.sign(record, b"new"))[0] == 200


@pytest.mark.cluster
async def test_killed_gateway_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """SIGKILL under load: every answer a client got is given again, byte for byte, and the chain has no hole."""
    async with DevCluster(tmp_path / "dev") as cluster:
        file = ClusterFile.load(cluster.cluster_file)
        operator = OperatorCredentials.load(cluster.layout.operator_key)
        assert file.default_policy is not None
        async with Client.connect(cluster.cluster_file, credentials=operator) as client:
            key = await client.keys.create("wallet", usage="generic", policy=file.default_policy)
        agent = AgentCredentials.load(cluster.layout.agent_key)
        path = f"/v1/keys/{key.key}/sign"
        requests = []
        for number in range(400):
            body = canonical_json({"kind": "message", "message": b64url(b"%d" % number)})
            token = agent.token(
                cluster=cluster.roster.cluster_id, act="sign", resource=key.resource, body=body,
                method="POST", path=path, now=int(time.time()),
            )  # fmt: skip
            requests.append((body, token))
        answered: dict[str, bytes] = {}

        async def send(session: aiohttp.ClientSession, body: bytes, token: str) -> tuple[int, bytes]:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.post(cluster.url + path, data=body, headers=headers) as answer:
                return answer.status, await answer.read()

        async def worker(session: aiohttp.ClientSession, todo: list[tuple[bytes, str]]) -> None:
            while todo:
                body, token = todo.pop()
                try:
                    status, content = await send(session, body, token)
                except aiohttp.ClientError:
                    return
                if status == 200:
                    answered[token] = content

        async with aiohttp.ClientSession() as session:
            todo = list(requests)
            workers = [asyncio.create_task(worker(session, todo)) for _ in range(16)]
            while len(answered) < 60:
                await asyncio.sleep(0.002)
            await cluster.kill_node("gateway")
            await asyncio.gather(*workers)
            assert todo
            assert len(answered) < len(requests)
            await cluster.restart_node("gateway")
            await cluster.wait_trusted()
            bodies = {token: body for body, token in requests}
            for token, content in answered.items():
                assert await send(session, bodies[token], token) == (200, content)
            # What was cut off can be sent again as it is, too.
            unanswered = [(body, token) for body, token in requests if token not in answered][:40]
            public = Ed25519PublicKey.from_public_bytes(key.public_key)
            for body, token in unanswered:
                status, content = await send(session, body, token)
                assert status == 200, content
                message = b64url_decode(json.loads(body)["message"])
                public.verify(b64url_decode(json.loads(content)["signature"]["ed25519"]), message)
        await cluster.kill_node("gateway")
        store = SqliteStore(cluster.layout.gateway)
        entries = await store.audit(after=0, limit=100_000)
        await store.close()
    verify_chain(entries)
    bodies_ = [json.loads(entry.body) for entry in entries]
    assert sum(entry["kind"] == "start" for entry in bodies_) == 2
    intents = [entry["request"] for entry in bodies_ if entry["kind"] == "intent"]
    results = {entry["request"] for entry in bodies_ if entry["kind"] == "result"}
    interrupted = sum(entry["kind"] == "interrupted" for entry in bodies_)
    assert len(set(intents) - results) <= interrupted


@pytest.mark.cluster
async def test_sigterm_ends_the_gateway_in_order(tmp_path: Path) -> None:
    """A supervisor's stop lets requests finish and exits with 0."""
    layout = create(tmp_path / "cluster", nodes=3, first_port=0)
    port = choose(0, 1)[0]
    config = write_gateway_config(layout, port)
    program = "from kms.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "gateway", "serve", "--config", str(config)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(20):
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/livez") as answer:
                        assert answer.status == 200
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0
    finally:
        process.kill()
        _, log = process.communicate()
    assert "gateway-stopped" in log
    assert "Traceback" not in log
