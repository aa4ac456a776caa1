"""Nodes asked at their own ports: what an honest gateway would never send is refused by each of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.documents import sign_document
from enclave.ids import new_id
from enclave.signing_key import SigningKey
from enclave.wire.documents import Acknowledgement, ControlRequest
from enclave.wire.ecdsa import EcdsaMessage, EcdsaStart
from enclave.wire.reconstruct import ReleaseRequest, SealedShare
from enclave.wire.signing import Signer, SignReply, SignRequest
from tests.kms.fabric import Fabric
from tests.kms.malicious_gateway import Attempt, MaliciousGateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAYMENTS = {
    "name": "payments",
    "effect": "allow",
    "kinds": ["evm_transaction"],
    "evm": {"chain_ids": [1], "value_max": "1000"},
}
MESSAGES = {"name": "messages", "effect": "allow", "kinds": ["message"]}
BODY = canonical_json({"kind": "message", "message": b64url(b"pay the baker")})
OTHER_BODY = canonical_json({"kind": "message", "message": b64url(b"pay the relay")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Keys of one policy, and a relay beside the gateway."""

    fabric: Fabric
    relay: MaliciousGateway
    policy: str
    key: dict[str, Any]
    wallet: dict[str, Any]
    """Threshold ECDSA of two."""
    assembled: dict[str, Any]
    """ECDSA reconstructed at node-1."""

    @property
    def slots(self) -> list[str]:
        """Three signers."""
        return self.fabric.slots[:3]

    def token(self, body: bytes, key: dict[str, Any] | None = None, **changes: Any) -> str:
        """The agent's signature over one request."""
        resource = changes.pop("resource", f"{(key or self.key)['key']}/1")
        return self.fabric.token(changes.pop("act", "sign"), resource, body, **changes)

    async def sign(self, token: str, body: bytes = BODY) -> set[str]:
        """Ask three nodes for shares; the codes of their refusals, empty if all signed."""
        attempt = Attempt(token=token, body=body, slots=self.slots)
        await self.relay.sign([attempt])
        assert attempt.signed or len(attempt.answers) == len(self.slots)
        return attempt.codes

    async def start(self, body: bytes, token: str | None = None) -> set[str]:
        """Ask three nodes to begin threshold ECDSA; the codes of their refusals."""
        for sender in self.slots:
            for receiver in self.slots:
                if sender != receiver:
                    await self.relay.open_channel(sender, receiver)
        request = EcdsaStart(token=token or self.token(body, self.wallet), body=body, signers=self.slots, attempt=1)
        answers = [await self.relay.call(slot, "ecdsa-start", request) for slot in self.slots]
        return {answer for answer in answers if not isinstance(answer, EcdsaMessage)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(fabric: Fabric) -> AsyncIterator[Scene]:
    """Everything in place, used by the gateway before."""
    policy = new_id("pol")
    document = fabric.policy_document(policy=policy, rules=[MESSAGES, PAYMENTS])
    assert (await fabric.put("PUT", f"/v1/policies/{policy}", document))[0] == 200
    key = await fabric.create_key(name="bypass-frost", policy=policy)
    evm = {"spec": "secp256k1-ecdsa", "usage": "evm", "policy": policy}
    wallet = await fabric.create_key(name="bypass-wallet", shares_needed=2, **evm)
    assembled = await fabric.create_key(
        name="bypass-assembled", custody="reconstruct", assemblers=[fabric.slots[0]], **evm
    )
    assert (await fabric.sign(key, b"by the way of the gateway"))[0] == 200
    async with MaliciousGateway(fabric.roster) as relay:
        yield Scene(fabric=fabric, relay=relay, policy=policy, key=key, wallet=wallet, assembled=assembled)


def transaction(**changes: Any) -> bytes:
    """A transaction within the rule."""
    fields = {
        "type": 2, "chain_id": 1, "nonce": 0, "gas": 21000, "to": "0x" + "11" * 20, "value": "5", "data": "0x",
        "max_fee_per_gas": "1", "max_priority_fee_per_gas": "1",
    }  # fmt: skip
    return canonical_json({"kind": "evm_transaction", "transaction": fields | changes})


async def test_what_the_agent_signed_is_executed(scene: Scene) -> None:
    """The relay is no attacker by itself: an honest request succeeds at the same ports."""
    assert await scene.sign(scene.token(BODY)) == set()
    assert await scene.start(transaction(nonce=100)) == set()


async def test_a_replay_is_refused(scene: Scene) -> None:
    """Three attempts of one request are let through for repeats, whoever asks; the fourth is not."""
    token = scene.token(BODY)
    for _ in range(3):
        assert await scene.sign(token) == set()
    assert await scene.sign(token) == {"token.replayed"}
    async with MaliciousGateway(scene.fabric.roster) as again:
        attempt = Attempt(token=token, body=BODY, slots=scene.slots)
        await again.sign([attempt])
    assert attempt.codes == {"token.replayed"}


async def test_an_old_token_is_refused(scene: Scene) -> None:
    """What was kept for later is worth nothing then, nor what is dated ahead."""
    now = int(time.time())
    assert await scene.sign(scene.token(BODY, now=now - 61)) == {"token.expired"}
    assert await scene.sign(scene.token(BODY, now=now + 30)) == {"token.from-future"}


async def test_a_swapped_body_is_refused(scene: Scene) -> None:
    """The token is over these bytes and no others, not even the same JSON spelt otherwise."""
    assert await scene.sign(scene.token(BODY), OTHER_BODY) == {"token.body"}
    assert await scene.sign(scene.token(BODY), BODY.replace(b":", b": ", 1)) == {"token.body"}


async def test_another_key_is_not_used(scene: Scene) -> None:
    """The key is the one the token names: another version, kind of key, verb or cluster has its own refusal."""
    assert await scene.sign(scene.token(BODY, resource=f"{scene.key['key']}/2")) == {"key.unknown"}
    assert await scene.sign(scene.token(BODY, resource=f"{new_id('key')}/1")) == {"key.unknown"}
    assert await scene.sign(scene.token(BODY, scene.wallet)) == {"key.spec"}
    assert await scene.sign(scene.token(BODY, act="decrypt")) == {"token.act"}
    token = scene.token(transaction(nonce=50), scene.key)
    assert await scene.start(transaction(nonce=50), token) == {"key.spec"}


async def test_another_agent_does_not_lend_its_name(scene: Scene) -> None:
    """A token signed by anybody else is nobody's, and an operator's is one no rule names."""
    assert await scene.sign(scene.token(BODY, signer=SigningKey.generate())) == {"token.unknown-key"}
    operator = {"issuer": scene.fabric.operator_id, "signer": scene.fabric.operator}
    assert await scene.sign(scene.token(BODY, **operator)) == {"policy.denied"}


async def test_another_chain_is_refused(scene: Scene) -> None:
    """The chain is inside the signed body, and nodes judge it; the same payment on chain 1 begins."""
    assert await scene.start(transaction(chain_id=5, nonce=1)) == {"policy.denied"}
    assert await scene.start(transaction(value="1001", nonce=1)) == {"policy.denied"}
    assert await scene.start(transaction(nonce=1)) == set()


async def test_a_second_transaction_under_one_nonce_is_refused(scene: Scene) -> None:
    """By every node that signed the first, in threshold ECDSA and before a share leaves for reconstruction."""
    assert await scene.start(transaction(nonce=7)) == set()
    assert await scene.start(transaction(nonce=7, value="6")) == {"nonce-guard.used"}

    async def release(body: bytes) -> Any:
        await scene.relay.open_channel("node-3", "node-1")
        token = scene.token(body, scene.assembled)
        request = ReleaseRequest(token=token, body=body, signers=scene.slots, assembler="node-1")
        return await scene.relay.call("node-3", "release", request)

    assert isinstance(await release(transaction(nonce=7)), SealedShare)
    assert await release(transaction(nonce=7, value="6")) == "nonce-guard.used"


async def test_a_signing_nonce_is_used_once(scene: Scene) -> None:
    """Two messages under one FROST nonce would give the share away: the second finds none, on any connection."""
    attempts = [Attempt(token=scene.token(body), body=body, slots=scene.slots) for body in (BODY, OTHER_BODY)]
    prepared = await scene.relay.prepare(attempts[0])
    (_, first), slot = prepared["node-1"][0], "node-1"
    second = SignRequest(token=attempts[1].token, body=OTHER_BODY, nonce=first.nonce, signers=first.signers)
    assert isinstance(await scene.relay.call(slot, "sign", first), SignReply)
    assert await scene.relay.call(slot, "sign", second) == "nonces.unknown"
    fresh = await scene.relay.nonces(slot)
    signers = [Signer(slot, fresh[0].hiding, fresh[0].binding), *first.signers[1:]]
    stolen = SignRequest(token=attempts[1].token, body=OTHER_BODY, nonce=fresh[0].nonce, signers=signers)
    async with MaliciousGateway(scene.fabric.roster) as other:
        assert await other.call(slot, "sign", stolen) == "nonces.unknown"


async def test_a_stale_policy_is_refused(scene: Scene) -> None:
    """A tighter version counts at once, and neither its predecessor nor a stranger's version comes back."""
    fabric = scene.fabric

    async def hand_in(version: int, *rules: dict[str, Any], signer: SigningKey | None = None) -> list[Any]:
        document = fabric.policy_document(policy=scene.policy, version=version, rules=list(rules))
        request = ControlRequest(document=sign_document(document, signer or fabric.operator))
        return [await scene.relay.call(slot, "control", request) for slot in fabric.slots]

    assert await scene.sign(scene.token(BODY)) == set()
    assert all(isinstance(answer, Acknowledgement) for answer in await hand_in(2, PAYMENTS))
    assert await scene.sign(scene.token(BODY)) == {"policy.denied"}
    assert set(await hand_in(1, MESSAGES, PAYMENTS)) == {"document.sequence"}
    forged = await hand_in(3, MESSAGES, signer=SigningKey.generate())
    assert set(forged) == {"envelope.signatures"}
    assert await scene.sign(scene.token(BODY)) == {"policy.denied"}
    # A wider version is acknowledged, and changes nothing before enough holders have said so to this node.
    assert all(isinstance(answer, Acknowledgement) for answer in await hand_in(3, MESSAGES, PAYMENTS))
    assert await scene.sign(scene.token(BODY)) == {"policy.denied"}
