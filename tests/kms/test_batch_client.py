"""client.batch: results verified on this machine, each for itself, and a gateway that answers wrongly found out."""

from __future__ import annotations

import time
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.envelope import b64url
from enclave.errors import CallerError
from enclave.wire.decrypt import PartialReply
from enclave.wire.message import Message
from kms.client import AgentCredentials, Client, RequestRefusedError, VerificationError
from kms.client.batches import DecryptItem, SignItem
from tests.kms.fabric import Fabric
from tests.kms.test_freeze import client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keys(fabric: Fabric) -> dict[str, str]:
    """Ids of a signing and of a decryption key."""
    made = {"sign": await fabric.create_key(), "open": await fabric.create_key(spec="hpke-x25519", usage="decrypt")}
    return {name: record["key"] for name, record in made.items()}


def agent_of(fabric: Fabric) -> Any:
    """The agent's client."""
    return client_of(fabric, AgentCredentials(issuer=fabric.agent_id, key=fabric.agent))


def message(key: str, text: bytes, **changes: Any) -> SignItem:
    """An item that signs bytes."""
    return SignItem(key=key, payload={"kind": "message", "message": b64url(text)} | changes)


async def test_mixed_items_come_back_verified(fabric: Fabric, keys: dict[str, str]) -> None:
    """A signature that OpenSSL accepts, a plaintext, and a refusal in between."""
    async with agent_of(fabric) as client:
        ciphertext = await client.decryption.encrypt(keys["open"], b"for me", context={"a": "b"})
        results = await client.batch(
            [
                message(keys["sign"], b"one"),
                SignItem(key=keys["sign"], payload={"kind": "jws", "claims": "e30"}),
                DecryptItem(key=keys["open"], ciphertext=ciphertext, context={"a": "b"}),
                DecryptItem(key=keys["open"], ciphertext=ciphertext, context={"a": "c"}),
            ]
        )
        certified = await client.keys.certified(keys["sign"])
    signed, refused, opened, closed = results
    assert signed.signed is not None
    Ed25519PublicKey.from_public_bytes(certified.public_key).verify(signed.signed.ed25519 or b"", b"one")
    assert signed.signed.request_id == signed.request_id
    assert isinstance(refused.error, RequestRefusedError)
    assert (refused.error.code, refused.error.status) == ("policy.denied", 403)
    assert (opened.plaintext, opened.error) == (b"for me", None)
    assert (closed.plaintext, getattr(closed.error, "code", "")) == (None, "decrypt.failed")


async def test_a_lying_node_does_not_spoil_an_item(fabric: Fabric, keys: dict[str, str]) -> None:
    """Where partial results do not open, the item is asked for again by itself, with proofs."""

    def lie(verb: str, _request: Message, honest: Message) -> Message:
        if verb == "partial" and isinstance(honest, PartialReply) and honest.sealed is not None:
            raise CallerError("no", code="peer.misbehaved")
        return honest

    fabric.corrupt("node-2", lie)
    try:
        async with agent_of(fabric) as client:
            ciphertext = await client.decryption.encrypt(keys["open"], b"still")
            (result,) = await client.batch([DecryptItem(key=keys["open"], ciphertext=ciphertext)])
    finally:
        fabric.corrupt("node-2", None)
    assert result.plaintext == b"still"


async def test_malformed_items_are_not_sent(fabric: Fabric, keys: dict[str, str]) -> None:
    """Too many, none, and a payload that is none."""
    async with agent_of(fabric) as client:
        for items, code in (
            ([], "batch.count"),
            ([message(keys["sign"], b"x")] * 65, "batch.count"),
            ([message(keys["sign"], b"x", kind="unheard-of")], "payload.kind"),
        ):
            with pytest.raises(CallerError) as caught:
                await client.batch(items)
            assert caught.value.code == code


@pytest.mark.parametrize("trick", ["swap", "signature", "drop", "twice"])
async def test_a_gateway_cannot_pass_one_item_for_another(
    fabric: Fabric, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, trick: str
) -> None:
    """Results put in each other's place do not verify; an answer with other refs is no answer."""
    async with agent_of(fabric) as client:
        _lie(client, monkeypatch, trick)
        items = [message(keys["sign"], b"a %d" % time.time_ns()), message(keys["sign"], b"b")]
        if trick in ("drop", "twice"):
            with pytest.raises(VerificationError) as caught:
                await client.batch(items)
            assert caught.value.code == "verify.batch"
            return
        results = await client.batch(items)
    codes = [getattr(result.error, "code", None) for result in results]
    assert codes == ["verify.signature", "verify.signature" if trick == "swap" else None]


def _lie(client: Client, monkeypatch: pytest.MonkeyPatch, trick: str) -> None:
    honest = client.caller.transport.json

    async def told(method: str, path: str, **options: Any) -> Any:
        answer = await honest(method, path, **options)
        if path != "/v1/batch":
            return answer
        first, second = answer["results"]
        if trick == "swap":
            first["result"], second["result"] = second["result"], first["result"]
        elif trick == "signature":
            first["result"] = second["result"]
        elif trick == "drop":
            answer["results"] = [first]
        else:
            answer["results"] = [first, first]
        return answer

    monkeypatch.setattr(client.caller.transport, "json", told)
