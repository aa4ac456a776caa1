"""An agent's keys change under it: with a document that follows, the new key counts and the old one stops counting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from enclave.errors import CallerError
from enclave.ids import new_id
from enclave.signing_key import SigningKey
from enclave.wire.signing import Signer, SignRequest
from kms.client import Client, RequestRefusedError
from kms.errors import NodeRefusal
from tests.kms.fabric import Fabric
from tests.kms.test_freeze import client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = canonical_json({"kind": "message", "message": b64url(b"rotate")})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def key(fabric: Fabric) -> dict[str, Any]:
    """A key that the agent may use."""
    return await fabric.create_key()


@pytest_asyncio.fixture(loop_scope="module")
async def client(fabric: Fabric) -> AsyncIterator[Client]:
    """The operator's client."""
    async with client_of(fabric) as made:
        yield made


async def signs(fabric: Fabric, key: dict[str, Any], signer: SigningKey) -> tuple[int, Any]:
    """The agent asks for a signature with one of its keys."""
    token = fabric.token("sign", f"{key['key']}/1", BODY, signer=signer)
    return await fabric.ask("POST", f"/v1/keys/{key['key']}/sign", token=token, body=BODY)


async def asked_directly(fabric: Fabric, key: dict[str, Any], signer: SigningKey) -> set[str]:
    """The codes of nodes that are asked by a gateway which lets everything pass."""
    request = SignRequest(
        token=fabric.token("sign", f"{key['key']}/1", BODY, signer=signer),
        body=BODY,
        nonce=bytes(16),
        signers=[Signer(slot, bytes(32), bytes(32)) for slot in fabric.slots[:3]],
    )
    codes = set()
    for slot in fabric.slots:
        with pytest.raises(NodeRefusal) as caught:
            await fabric.gateway.fleet.links[slot].call("sign", request)
        codes.add(caught.value.code)
    return codes


async def test_keys_are_added_and_removed(fabric: Fabric, key: dict[str, Any], client: Client) -> None:
    """Old key, both keys, new key alone: in between every request finds one that counts, at the end one does not."""
    roster, old = await client.roster(), fabric.agent
    for algorithm in ("EdDSA", "ES256", "ES256K"):
        new = SigningKey.generate(algorithm)
        assert (await signs(fabric, key, new))[1]["code"] == "token.unknown-key"
        both = await client.agents.add_key(fabric.agent_id, new.public, roster=roster)
        assert [one.kid for one in both.keys] == [old.kid, new.kid]
        for signer in (old, new):
            status, answer = await signs(fabric, key, signer)
            assert status == 200, answer
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["public_key"]))
            public.verify(b64url_decode(answer["signature"]["ed25519"]), b"rotate")
        left = await client.agents.remove_key(fabric.agent_id, old.kid, roster=roster)
        assert [one.kid for one in left.keys] == [new.kid]
        status, problem = await signs(fabric, key, old)
        assert (status, problem["code"]) == (401, "token.unknown-key")
        assert await asked_directly(fabric, key, old) == {"token.unknown-key"}
        assert "token.unknown-key" not in await asked_directly(fabric, key, new)
        old = fabric.agent = new
    assert left.name == "shopper"


async def test_a_token_signed_before_the_change_is_refused_after_it(
    fabric: Fabric, key: dict[str, Any], client: Client
) -> None:
    """What the old key signed while it counted does not outlive it."""
    old, new, roster = fabric.agent, SigningKey.generate(), await client.roster()
    token = fabric.token("sign", f"{key['key']}/1", BODY)
    await client.agents.add_key(fabric.agent_id, new.public, roster=roster)
    await client.agents.remove_key(fabric.agent_id, old.kid, roster=roster)
    fabric.agent = new
    status, problem = await fabric.ask("POST", f"/v1/keys/{key['key']}/sign", token=token, body=BODY)
    assert (status, problem["code"]) == (401, "token.unknown-key")


async def test_changes_that_make_no_sense_are_not_signed(fabric: Fabric, client: Client) -> None:
    """The last key, a key it does not have, a ninth key, an agent that is none."""
    roster = await client.roster()
    for change, code in (
        (client.agents.remove_key(fabric.agent_id, fabric.agent.kid, roster=roster), "agent.keys"),
        (client.agents.remove_key(fabric.agent_id, "null", roster=roster), "agent.keys"),
        (client.agents.remove_key("null", fabric.agent.kid, roster=roster), "id.malformed"),
        (client.agents.add_key("1", SigningKey.generate().public, roster=roster), "id.malformed"),
        (client.agents.add_key(new_id("agt"), SigningKey.generate().public, roster=roster), "not-found"),
    ):
        with pytest.raises((CallerError, RequestRefusedError)) as caught:
            await change
        assert caught.value.code == code
    for _ in range(7):
        await client.agents.add_key(fabric.agent_id, SigningKey.generate().public, roster=roster)
    with pytest.raises(CallerError) as full:
        await client.agents.add_key(fabric.agent_id, SigningKey.generate().public, roster=roster)
    assert full.value.code == "agent.keys"
    again = await client.agents.add_key(fabric.agent_id, fabric.agent.public, roster=roster)
    assert len(again.keys) == 8
