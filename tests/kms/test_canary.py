"""Nothing secret settles anywhere: not in the database, the logs, the errors or the answers."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import pytest

from attestation.envelope import b64url
from enclave.errors import RefusedError
from enclave.wire.message import Message
from kms import observe
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")


def forms(secret: bytes) -> list[bytes]:
    """How a secret could appear."""
    return [secret, secret.hex().encode(), b64url(secret).encode(), repr(secret).encode()]


def fails(_verb: str, _request: Message, _reply: Message) -> Message:
    """A node with a defect."""
    raise ZeroDivisionError("defect")


def refuses(verb: str, _request: Message, reply: Message) -> Message:
    """A node that does not decrypt."""
    if verb == "partial":
        raise RefusedError("no")
    return reply


async def test_no_secret_settles_anywhere(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plaintexts, tokens and shares are absent from disk, log and refusals, on good paths and on bad ones."""
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    observe.configure("debug")
    try:
        secrets, refusals = await _use_everything(fabric)
    finally:
        monkeypatch.undo()
        observe.configure("info")
    assert log.getvalue().count("\n") > 10
    places = {"database": fabric.database, "log": log.getvalue().encode(), "refusals": b"".join(refusals)}
    assert fabric.agent_id.encode() in places["database"]
    assert all(len(refusal) > 50 for refusal in refusals)
    for name, place in places.items():
        for secret in secrets:
            for form in forms(secret):
                assert form not in place, f"{name} holds a secret"


async def _use_everything(fabric: Fabric) -> tuple[list[bytes], list[bytes]]:
    """Use keys in every way; returns every secret there was and every refusal."""
    plaintext = os.urandom(24)
    message = os.urandom(24)
    secrets: list[bytes] = [plaintext]
    refusals: list[bytes] = []
    signing = await fabric.create_key(name="canary-signing")
    sealing = await fabric.create_key(name="canary-sealing", spec="hpke-x25519", usage="decrypt")
    for node in fabric.nodes.values():
        for record in (signing, sealing):
            secrets.append(bytes(node.keys.get(record["key"], 1).share.view))

    async def send(record: dict[str, Any], verb: str, value: dict[str, Any], **headers: str) -> Any:
        body = json.dumps(value).encode()
        token = fabric.token(verb, f"{record['key']}/1", body)
        secrets.append(token.encode())
        secrets.append(token.rpartition(".")[2].encode())
        path = f"/v1/keys/{record['key']}/{verb}"
        status, content, _ = await fabric.send("POST", path, token=token, body=body, headers=headers)
        if status >= 300:
            refusals.append(content)
        return status, json.loads(content)

    status, sealed = await send(sealing, "encrypt", {"plaintext": b64url(plaintext)})
    assert status == 200
    ciphertext = sealed["ciphertext"]
    status, opened = await send(sealing, "decrypt", {"ciphertext": ciphertext})
    assert (status, opened["plaintext"]) == (200, b64url(plaintext))
    for _ in range(2):
        header = {"Idempotency-Key": "canary"}
        status, opened = await send(sealing, "decrypt", {"ciphertext": ciphertext}, **header)
        assert (status, opened["plaintext"]) == (200, b64url(plaintext))
    assert (await send(signing, "sign", {"kind": "message", "message": b64url(message)}))[0] == 200
    # Bad paths: plaintext where it does not belong, refusals, defects, garbage.
    assert (await send(sealing, "encrypt", {"plaintext": b64url(plaintext), "extra": b64url(plaintext)}))[0] == 400
    assert (await send(sealing, "decrypt", {"ciphertext": b64url(plaintext)}))[0] == 422
    assert (await send(sealing, "decrypt", {"ciphertext": ciphertext, "context": {"a": b64url(plaintext)}}))[0] == 422
    assert (await send(signing, "sign", {"kind": b64url(plaintext), "message": 7}))[0] >= 400
    for fault in (refuses, fails):
        for slot in fabric.slots:
            fabric.corrupt(slot, fault)
        assert (await send(sealing, "decrypt", {"ciphertext": ciphertext}))[0] >= 400
    for slot in fabric.slots:
        fabric.corrupt(slot, None)
    status, content, _ = await fabric.send("GET", "/v1/keys", headers={"Authorization": "Bearer " + b64url(plaintext)})
    assert status == 401
    refusals.append(content)
    return secrets, refusals


async def test_decryption_runs_again_instead_of_being_stored(fabric: Fabric) -> None:
    """A repeat of a decryption asks the nodes again: three times, as often as they allow one request."""
    record = await fabric.create_key(name="repeated", spec="hpke-x25519", usage="decrypt")
    body = json.dumps({"plaintext": b64url(b"again")}).encode()
    token = fabric.token("encrypt", f"{record['key']}/1", body)
    _, sealed = await fabric.ask("POST", f"/v1/keys/{record['key']}/encrypt", token=token, body=body)
    body = json.dumps({"ciphertext": sealed["ciphertext"]}).encode()
    token = fabric.token("decrypt", f"{record['key']}/1", body)
    path = f"/v1/keys/{record['key']}/decrypt"
    first = await fabric.send("POST", path, token=token, body=body)
    second = await fabric.send("POST", path, token=token, body=body)
    assert (first[0], second[0]) == (200, 200)
    assert json.loads(first[1])["plaintext"] == json.loads(second[1])["plaintext"] == b64url(b"again")
    assert "Idempotent-Replayed" not in second[2]
    assert second[2]["Cache-Control"] == "no-store"
