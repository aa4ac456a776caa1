"""The client against the real cluster, with every result checked by an independent library."""

from __future__ import annotations

import hashlib
import os

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from eth_account import Account
from eth_account.messages import encode_defunct
from solders.hash import Hash
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer

from attestation.errors import CodedError
from enclave.errors import CallerError
from kms.client import AgentCredentials, Client, RequestRefusedError
from kms.client.certified import CertifiedKey
from tests.kms.client.test_hostile_gateway import TRANSACTION
from tests.kms.cluster_fixture import RunningCluster

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def keys(cluster: RunningCluster) -> dict[str, CertifiedKey]:
    """One key of each usage."""

    async def make() -> dict[str, CertifiedKey]:
        async with cluster.as_operator() as client:
            return {
                usage: await client.keys.create(f"use-{usage}", usage=usage, policy=cluster.policy)
                for usage in ("evm", "solana", "generic", "decrypt")
            }

    return cluster.run(make())


async def test_evm_transaction(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """eth-account recovers the certified address from the raw transaction, and its hash agrees."""
    async with cluster.as_agent() as client:
        signed = await client.sign.evm_transaction(keys["evm"].key, TRANSACTION)
    assert Account.recover_transaction(signed.raw_transaction) == keys["evm"].addresses["evm"]
    assert len(signed.signers) >= 3


async def test_eip191(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """eth-account recovers the certified address from a personal message's signature."""
    async with cluster.as_agent() as client:
        signed = await client.sign.eip191(keys["evm"].key, "grüße".encode())
    assert signed.ecdsa is not None
    recovered = Account.recover_message(encode_defunct("grüße".encode()), signature=signed.ecdsa.eth65)
    assert recovered == keys["evm"].addresses["evm"]


async def test_solana(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """solders verifies the signature of a transfer message under the certified address."""
    payer = Pubkey.from_string(keys["solana"].addresses["solana"])
    move = transfer(TransferParams(from_pubkey=payer, to_pubkey=Pubkey.new_unique(), lamports=5))
    message = bytes(Message.new_with_blockhash([move], payer, Hash(os.urandom(32))))
    async with cluster.as_agent() as client:
        signed = await client.sign.solana_message(keys["solana"].key, message)
    assert Signature(signed.ed25519 or b"").verify(payer, message)


async def test_generic_message(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """OpenSSL verifies a FROST signature over plain bytes."""
    async with cluster.as_agent() as client:
        signed = await client.sign.message(keys["generic"].key, b"hello")
    Ed25519PublicKey.from_public_bytes(keys["generic"].public_key).verify(signed.ed25519 or b"", b"hello")


async def test_decrypt_what_stock_hpke_sealed(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """A message sealed by `cryptography` alone, without this library, opens."""
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    sealed = suite.encrypt(b"from a stranger", X25519PublicKey.from_public_bytes(keys["decrypt"].public_key))
    async with cluster.as_agent() as client:
        assert await client.decryption.decrypt(keys["decrypt"].key, sealed) == b"from a stranger"


async def test_context_is_bound(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """A ciphertext opens with its own context and with no other, always with the same code."""
    key = keys["decrypt"].key
    async with cluster.as_agent() as client:
        sealed = await client.decryption.encrypt(key, b"x", context={"tenant": "one"})
        assert await client.decryption.decrypt(key, sealed, context={"tenant": "one"}) == b"x"
        for context in ({"tenant": "two"}, {}, None):
            with pytest.raises(CallerError) as caught:
                await client.decryption.decrypt(key, sealed, context=context)
            assert caught.value.code == "decrypt.failed"


async def test_policy_cap_is_kept_by_the_nodes(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """A transfer above the policy's cap is refused with the policy's code."""
    async with cluster.as_agent() as client:
        with pytest.raises(RequestRefusedError) as caught:
            await client.sign.evm_transaction(keys["evm"].key, TRANSACTION | {"value": str(2 * 10**18)})
    assert caught.value.code == "policy.denied"


async def test_malformed_payload_is_refused_before_anything_is_sent(
    cluster: RunningCluster, keys: dict[str, CertifiedKey]
) -> None:
    """A transaction with a misspelt field never leaves the client."""
    async with cluster.as_agent() as client:
        with pytest.raises(CallerError) as caught:
            await client.sign.evm_transaction(keys["evm"].key, TRANSACTION | {"chainId": 1})
    assert caught.value.code == "payload.malformed"


async def test_agents_come_and_go(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """A registered ES256K agent is known until revoked; then every node refuses its tokens."""
    made = AgentCredentials.create(algorithm="ES256K")
    async with cluster.as_operator() as operator:
        roster = await operator.roster()
        await operator.agents.create("visitor", agent=made.issuer, keys=[made.public])
        assert made.issuer in {agent.agent for agent in await operator.agents.list(roster=roster)}
        policy = await operator.policies.put(
            "visitors",
            [{"name": "messages", "effect": "allow", "agents": [made.issuer], "kinds": ["message", "decrypt"]}],
            roster=roster,
        )
        key = await operator.keys.create("visited", usage="generic", policy=policy.policy)
        vault = (await operator.keys.create("visited-vault", usage="decrypt", policy=policy.policy)).key
        async with Client.connect(cluster.dev.cluster_file, credentials=made) as visitor:
            await visitor.sign.message(key.key, b"hello")
            # Partial results are sealed for the request id, which an ECDSA token has only in its low-s form.
            assert await visitor.decryption.decrypt(vault, await visitor.decryption.encrypt(vault, b"x")) == b"x"
            with pytest.raises(RequestRefusedError):
                await visitor.keys.get(keys["evm"].key)
            await operator.agents.revoke(made.issuer, roster=roster)
            with pytest.raises(RequestRefusedError) as caught:
                await visitor.sign.message(key.key, b"hello again")
    assert caught.value.code in ("token.unknown-key", "agent.revoked")


async def test_policy_versions_count_up(cluster: RunningCluster) -> None:
    """Putting a policy again makes its next version, and reading gives the newest."""
    rule = {"name": "messages", "effect": "allow", "kinds": ["message"]}
    async with cluster.as_operator() as client:
        roster = await client.roster()
        first = await client.policies.put("counted", [rule], roster=roster)
        second = await client.policies.put("counted", [], roster=roster, policy=first.policy)
        assert (first.version, second.version) == (1, 2)
        assert list((await client.policies.get(first.policy, roster=roster)).rules) == []


async def test_disabled_key_does_nothing(cluster: RunningCluster) -> None:
    """A disabled key refuses to sign and signs again once enabled."""
    async with cluster.as_operator() as operator, cluster.as_agent() as agent:
        key = (await operator.keys.create("switched", usage="generic", policy=cluster.policy)).key
        await operator.keys.disable(key)
        with pytest.raises(RequestRefusedError) as caught:
            await agent.sign.message(key, b"x")
        assert caught.value.code == "key.disabled"
        await operator.keys.enable(key)
        await agent.sign.message(key, b"x")


async def test_listing_verifies_every_key(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """The list holds every key made here, each attested, with the public key its creation gave."""
    async with cluster.as_operator() as client:
        listed = {key.key: key async for key in client.keys.list()}
    for key in keys.values():
        assert listed[key.key].public_key == key.public_key
        assert listed[key.key].attested


async def test_audit_chain_verifies(cluster: RunningCluster, keys: dict[str, CertifiedKey]) -> None:
    """The chain verifies from its start and from a kept head; a changed entry does not."""
    async with cluster.as_operator() as client:
        head = await client.audit.verify()
        assert head.sequence >= len(keys)
        later = await client.audit.verify(since=head)
        assert later.sequence >= head.sequence
        forged = type(head)(sequence=head.sequence, hash=hashlib.sha256(b"another past").digest())
        await client.keys.disable(keys["generic"].key)
        await client.keys.enable(keys["generic"].key)
        with pytest.raises(CodedError) as caught:
            await client.audit.verify(since=forged)
    assert caught.value.code == "audit.broken"


async def test_agents_do_not_read_the_audit_log(cluster: RunningCluster) -> None:
    """The audit log is for auditors and administrators."""
    async with cluster.as_agent() as client:
        with pytest.raises(RequestRefusedError) as caught:
            await client.audit.verify()
    assert caught.value.code == "role.missing"


async def test_rebooted_node_is_verified_again(cluster: RunningCluster) -> None:
    """After a node's reboot an open client accepts a certificate signed under its new identity key."""
    async with cluster.as_operator() as client:
        before = await client.verify()
        # Three nodes, three signatures needed: the rebooted node's new signature must count.
        key = await client.keys.create(
            "rebooted", usage="generic", policy=cluster.policy, nodes=["node-1", "node-2", "node-3"]
        )
        await cluster.do(cluster.dev.kill_node("node-1"))
        await cluster.do(cluster.dev.restart_node("node-1"))
        await cluster.do(cluster.dev.wait_trusted())
        found = await client.keys.get(key.key)
        after = await client.verify()
    assert found.public_key == key.public_key
    assert after.identities["node-1"] != before.identities["node-1"]
    assert after.identities["node-2"] == before.identities["node-2"]
