"""Exports over HTTP, by the client library: files that open elsewhere, and what a gateway or a node may try."""

from __future__ import annotations

import json
import os
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from eth_account import Account

from attestation.envelope import b64url
from enclave.group.ed25519 import ED25519
from enclave.secret import declassify
from enclave.wire.imports import ExportedShare
from enclave.wire.message import Message
from kms.client import Client, RequestRefusedError
from kms.client.errors import ConfigurationError, VerificationError
from kms.client.exported_file import encrypted
from kms.client.importing import Curve, from_hex, from_keystore, from_pem
from tests.kms.fabric import Fabric
from tests.kms.importing.clients import POLICY

pytestmark = pytest.mark.asyncio(loop_scope="module")


PASSWORD = b"correct horse battery"


EXPORTS: tuple[tuple[Curve, dict[str, Any]], ...] = (
    (Curve.SECP256K1, {"usage": "evm"}),
    (Curve.ED25519, {"usage": "generic"}),
    (Curve.X25519, {"usage": "decrypt"}),
    (Curve.P256, {"usage": "generic", "spec": "p256-ecdsa"}),
)


@pytest.mark.parametrize(("curve", "terms"), EXPORTS, ids=[str(curve) for curve, _ in EXPORTS])
async def test_exports_give_the_key_back(
    fabric: Fabric, operator: Client, agent: Client, curve: Curve, terms: dict[str, Any]
) -> None:
    """What was imported comes out, into files that this and other programs read."""
    key = os.urandom(32)
    with from_hex(key.hex().encode(), curve) as material:
        public = material.public_key
        imported = await operator.keys.import_key("leaving", material, policy=POLICY, exportable=True, **terms)
    assert imported.to_json()["exportable"]
    with await agent.keys.export(imported.key) as exported:
        keystore = encrypted(exported, "keystore", PASSWORD, n=1 << 10)
        pem = encrypted(exported, "pem", PASSWORD) if curve is not Curve.ED25519 else b""
        if curve in (Curve.SECP256K1, Curve.P256):
            assert declassify(exported.secret) == key
    with from_keystore(keystore, PASSWORD) as again:
        assert (again.public_key, again.curve) == (public, curve)
    if curve is Curve.SECP256K1:
        assert Account.decrypt(json.loads(keystore), PASSWORD.decode()) == key
        assert json.loads(keystore)["address"] == Account.from_key(key).address.lower()[2:]
    if pem:
        assert load_pem_private_key(pem, PASSWORD)
        with from_pem(pem, PASSWORD) as again:
            assert again.public_key == public


@pytest.mark.parametrize(("curve", "terms"), EXPORTS, ids=[str(curve) for curve, _ in EXPORTS])
async def test_generated_keys_leave_only_if_made_for_it(
    operator: Client, agent: Client, curve: Curve, terms: dict[str, Any]
) -> None:
    """A key the nodes made: exportable if its order said so, refused with its own code otherwise."""
    made = await operator.keys.create("exportable", policy=POLICY, exportable=True, **terms)
    assert made.to_json()["exportable"]
    with await agent.keys.export(made.key) as exported:
        keystore = encrypted(exported, "keystore", PASSWORD, n=1 << 10)
    with from_keystore(keystore, PASSWORD) as again:
        assert (again.public_key, again.curve) == (made.public_key, curve)
    kept = await operator.keys.create("kept", policy=POLICY, **terms)
    with pytest.raises(RequestRefusedError) as caught:
        await agent.keys.export(kept.key)
    assert (caught.value.code, caught.value.status) == ("export.not-exportable", 403)


async def test_policy_decides_who_may_have_it(fabric: Fabric, operator: Client, agent: Client) -> None:
    """The administrator is not named; the agent's other policy has no such rule."""
    made = await operator.keys.create("guarded", usage="generic", policy=POLICY, exportable=True)
    with pytest.raises(RequestRefusedError) as caught:
        await operator.keys.export(made.key)
    assert (caught.value.code, caught.value.status) == ("policy.denied", 403)
    other = await operator.keys.create("unruled", usage="generic", policy=fabric.policy_id, exportable=True)
    with pytest.raises(RequestRefusedError) as caught:
        await agent.keys.export(other.key)
    assert caught.value.code == "policy.denied"


async def test_exports_are_written_down_and_not_kept(fabric: Fabric, operator: Client, agent: Client) -> None:
    """The audit log says who took which key; the sealed shares are in no table."""
    made = await operator.keys.create("audited", usage="generic", policy=POLICY, exportable=True)
    sent: list[Any] = []
    honest = agent.caller.send

    async def watching(method: str, path: str, **options: Any) -> Any:
        sent.append(await honest(method, path, **options))
        return sent[-1]

    agent.caller.send = watching  # type: ignore[method-assign]
    try:
        (await agent.keys.export(made.key)).secret.wipe()
    finally:
        agent.caller.send = honest  # type: ignore[method-assign]
    shares = [share["sealed"] for share in sent[-1]["shares"]]
    assert len(shares) == len(fabric.slots)
    stored = fabric.database
    assert not any(share.encode() in stored for share in shares)
    entries = [entry async for entry in operator.audit.entries()]
    told = [str(entry) for entry in entries if "keys.export" in str(entry) and made.key in str(entry)]
    assert told
    assert any(fabric.agent_id in entry for entry in told)


async def test_wrong_shares_are_passed_over(fabric: Fabric, operator: Client, agent: Client) -> None:
    """Two nodes that seal rubbish change nothing; with three of five there is no key, and the client says so."""
    made = await operator.keys.create("blamed", usage="generic", policy=POLICY, exportable=True)

    def rubbish(_verb: str, _request: Message, reply: Message) -> Message:
        if isinstance(reply, ExportedShare):
            return msgspec.structs.replace(reply, sealed=bytes(len(reply.sealed)))
        return reply

    try:
        for slot in fabric.slots[:2]:
            fabric.corrupt(slot, rubbish)
        with await agent.keys.export(made.key) as exported:
            assert ED25519.base_mult(exported.secret) == made.public_key
        fabric.corrupt(fabric.slots[2], rubbish)
        with pytest.raises(VerificationError) as caught:
            await agent.keys.export(made.key)
        assert caught.value.code == "verify.share"
    finally:
        for slot in fabric.slots:
            fabric.corrupt(slot, None)


async def test_shares_of_one_request_open_no_other(
    fabric: Fabric, operator: Client, agent: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay that answers with the shares of an earlier export gives nothing that counts."""
    made = await operator.keys.create("replayed", usage="generic", policy=POLICY, exportable=True)
    honest = agent.caller.send
    first: list[Any] = []

    async def replaying(method: str, path: str, **options: Any) -> Any:
        answer = await honest(method, path, **options)
        if path.endswith("/export"):
            first.append(answer)
            return first[0]
        return answer

    monkeypatch.setattr(agent.caller, "send", replaying)
    (await agent.keys.export(made.key)).secret.wipe()
    with pytest.raises(VerificationError) as caught:
        await agent.keys.export(made.key)
    assert caught.value.code == "verify.share"


async def test_an_exchanged_wrapped_key_is_noticed(
    operator: Client, agent: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate has the digest of an imported P-256 key's wrapping."""
    with from_hex(os.urandom(32).hex().encode(), Curve.P256) as material:
        made = await operator.keys.import_key(
            "wrapped", material, usage="generic", spec="p256-ecdsa", policy=POLICY, exportable=True
        )
    honest = agent.caller.send

    async def lying(method: str, path: str, **options: Any) -> Any:
        answer = await honest(method, path, **options)
        return answer | {"wrapped": b64url(bytes(60))} if path.endswith("/export") else answer

    monkeypatch.setattr(agent.caller, "send", lying)
    with pytest.raises(VerificationError) as caught:
        await agent.keys.export(made.key)
    assert caught.value.code == "verify.secret"


async def test_short_passwords_write_nothing(operator: Client, agent: Client) -> None:
    """A file is as safe as its password; Ed25519 has no PEM without a seed."""
    made = await operator.keys.create("filed", usage="generic", policy=POLICY, exportable=True)
    with await agent.keys.export(made.key) as exported:
        for form, password, code in (
            ("keystore", b"short", "client.export-password"),
            ("pem", PASSWORD, "client.export-form"),
            ("raw", PASSWORD, "client.export-form"),
        ):
            with pytest.raises(ConfigurationError) as caught:
                encrypted(exported, form, password)
            assert caught.value.code == code
