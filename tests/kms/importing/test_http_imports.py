"""Imports over HTTP, by the client library: keys that work, and what a gateway or a node may try."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from typing import Any

import msgspec
import pytest
from coincurve import PublicKeyXOnly
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_account import Account
from nacl.signing import SigningKey as NaclKey
from solders.keypair import Keypair

from attestation.canonical import canonical_json
from attestation.errors import CodedError
from enclave.certificate import KeyCertificate
from enclave.group.ed25519 import ED25519
from enclave.imports.upload import KeyUpload
from enclave.wire.imports import ImportAccepted, ImportCommit
from enclave.wire.message import Message
from kms.client import Client, RequestRefusedError
from kms.client.errors import ClientError, ConfigurationError, VerificationError
from kms.client.importing import Curve, from_bip39, from_hex, from_solana_file
from kms.client.importing.dealing import Dealing
from kms.dev.demo_steps import schnorr as reference
from kms.errors import UnavailableError
from kms.fleet import imports
from tests.kms.fabric import Fabric
from tests.kms.importing.clients import connect

pytestmark = pytest.mark.asyncio(loop_scope="module")


ABOUT = b"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"


# --- imported keys work ----------------------------------------------------------------------------------


async def test_ethereum(fabric: Fabric, operator: Client, agent: Client) -> None:
    """eth-account recovers the imported account's address from a transaction that threshold ECDSA signed."""
    account = Account.create()
    with from_hex(account.key.hex().encode(), Curve.SECP256K1) as material:
        imported = await operator.keys.import_key("wallet", material, usage="evm", policy=fabric.policy_id)
    record = imported.to_json()
    assert (record["addresses"]["evm"], record["origin"], record["missing"]) == (account.address, "imported", [])
    assert (record["custody"], record["signing_quorum"]) == ("threshold", 3)
    transaction = {
        "type": 2, "chain_id": 1, "nonce": 0, "gas": 21000, "to": "0x" + "11" * 20, "value": "1000", "data": "0x",
        "max_fee_per_gas": "2000000000", "max_priority_fee_per_gas": "1", "access_list": [],
    }  # fmt: skip
    signed = await agent.sign.evm_transaction(imported.key, transaction)
    assert Account.recover_transaction(signed.raw_transaction) == account.address


async def test_ethereum_by_one_assembler(fabric: Fabric, operator: Client, agent: Client) -> None:
    """Custody reconstruct of an imported key: the record names the assemblers and says that one of them is enough."""
    account = Account.create()
    with from_hex(account.key.hex().encode(), Curve.SECP256K1) as material:
        imported = await operator.keys.import_key(
            "hot", material, usage="evm", policy=fabric.policy_id, custody="reconstruct", assemblers=["node-2"]
        )
    assert (imported.to_json()["privacy_threshold"], imported.to_json()["assemblers"]) == (1, ["node-2"])
    signed = await agent.sign.eip191(imported.key, b"hello")
    assert signed.ecdsa is not None


async def test_solana(fabric: Fabric, operator: Client, agent: Client) -> None:
    """The address is the keypair file's, and PyNaCl verifies a signature under its public key."""
    pair = Keypair()
    with from_solana_file(pair.to_json().encode()) as material:
        imported = await operator.keys.import_key("sol", material, usage="generic", policy=fabric.policy_id)
    signed = await agent.sign.message(imported.key, b"hello")
    assert signed.ed25519 is not None
    NaclKey(bytes(pair)[:32]).verify_key.verify(b"hello", signed.ed25519)
    assert imported.certified.public_key == bytes(pair.pubkey())


async def test_bitcoin(fabric: Fabric, operator: Client, agent: Client) -> None:
    """The first address of BIP-86's own mnemonic, and signatures that libsecp256k1 and plain integers accept."""
    with from_bip39(ABOUT, "m/86'/0'/0'/0/0", Curve.SECP256K1) as material:
        imported = await operator.keys.import_key("coins", material, usage="bitcoin", policy=fabric.policy_id)
    address = imported.certified.addresses["bitcoin"]
    assert address == "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"
    signed = await agent.sign.message(imported.key, b"hello")
    assert signed.bip340 is not None
    digest, key = reference.tagged("Holdfast/message", b"hello"), reference.key_of(address)
    assert reference.verify(key, signed.bip340, digest)
    assert PublicKeyXOnly(key).verify(signed.bip340, digest)


async def test_children_of_a_wallet(operator: Client, fabric: Fabric) -> None:
    """An account imported with its chain code has the wallet's own addresses as children."""
    Account.enable_unaudited_hdwallet_features()
    with from_bip39(ABOUT, "m/44'/60'/0'/0", Curve.SECP256K1) as material:
        imported = await operator.keys.import_key("account", material, usage="evm", policy=fabric.policy_id)
    child = await operator.keys.derive(imported.key, "m/3")
    expected = Account.from_mnemonic(ABOUT.decode(), account_path="m/44'/60'/0'/0/3").address
    assert child.to_json()["addresses"] == {"evm": expected}


async def test_p256(fabric: Fabric, operator: Client, agent: Client) -> None:
    """OpenSSL verifies under the imported key; custody is reconstruct, as for every P-256 key."""
    private = ec.generate_private_key(ec.SECP256R1())
    key = private.private_numbers().private_value.to_bytes(32, "big")
    with from_hex(key.hex().encode(), Curve.P256) as material:
        imported = await operator.keys.import_key(
            "tls", material, usage="generic", spec="p256-ecdsa", policy=fabric.policy_id
        )
    assert imported.to_json()["custody"] == "reconstruct"
    for assembler in imported.to_json()["assemblers"]:
        signed = await agent.sign.message(imported.key, assembler.encode())
        assert signed.p256 is not None
        der = utils.encode_dss_signature(signed.p256.r, signed.p256.s)
        private.public_key().verify(der, assembler.encode(), ec.ECDSA(hashes.SHA256()))


async def test_decryption(fabric: Fabric, operator: Client, agent: Client) -> None:
    """What stock HPKE sealed to the old public key opens at the nodes."""
    private = X25519PrivateKey.generate()
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    ciphertext = suite.encrypt(b"to the old key", private.public_key(), info=b"")
    with from_hex(private.private_bytes_raw().hex().encode(), Curve.X25519) as material:
        imported = await operator.keys.import_key("inbox", material, usage="decrypt", policy=fabric.policy_id)
    assert await agent.decryption.decrypt(imported.key, ciphertext) == b"to the old key"


async def test_records_say_where_a_key_is_from(fabric: Fabric, operator: Client) -> None:
    """Listed, shown and told by the API alike; a gateway that says otherwise is caught."""
    with from_hex(os.urandom(32).hex().encode(), Curve.ED25519) as material:
        imported = await operator.keys.import_key("known", material, usage="generic", policy=fabric.policy_id)
    made = await operator.keys.create("made", usage="generic", policy=fabric.policy_id)
    listed = {key.key: key.to_json() async for key in operator.keys.list()}
    assert (listed[imported.key]["origin"], listed[made.key]["origin"]) == ("imported", "generated")
    assert not listed[imported.key]["exportable"]
    token = fabric.operator_token("keys.get", imported.key, b"")
    status, answer = await fabric.ask("GET", f"/v1/keys/{imported.key}", token=token)
    assert (status, answer["origin"]) == (200, "imported")


@pytest.mark.parametrize("member", ["origin", "exportable"])
async def test_a_gateway_cannot_change_the_origin(
    fabric: Fabric, operator: Client, monkeypatch: pytest.MonkeyPatch, member: str
) -> None:
    """What it says beside the certificate must agree with it."""
    made = await operator.keys.create("changed", usage="generic", policy=fabric.policy_id)
    honest = operator.caller.send

    async def lying(method: str, path: str, **options: Any) -> Any:
        answer = await honest(method, path, **options)
        return answer | {member: {"origin": "imported", "exportable": True}[member]}

    monkeypatch.setattr(operator.caller, "send", lying)
    with pytest.raises(VerificationError) as caught:
        await operator.keys.get(made.key)
    assert caught.value.code == "verify.record"


# --- imports that do not -----------------------------------------------------------------------------------


async def test_duplicates_are_refused(fabric: Fabric, operator: Client) -> None:
    """The same key a second time; the answer names the key that is there."""
    key = os.urandom(32).hex().encode()
    with from_hex(key, Curve.ED25519) as material:
        first = await operator.keys.import_key("first", material, usage="generic", policy=fabric.policy_id)
    with from_hex(key, Curve.ED25519) as material, pytest.raises(RequestRefusedError) as caught:
        await operator.keys.import_key("second", material, usage="generic", policy=fabric.policy_id)
    assert (caught.value.code, caught.value.status) == ("import.duplicate", 409)
    assert first.key in caught.value.detail


@pytest.mark.parametrize(
    ("curve", "terms", "code"),
    [
        (Curve.ED25519, {"usage": "evm"}, "client.import-curve"),
        (Curve.SECP256K1, {"usage": "solana"}, "client.import-curve"),
        (Curve.P256, {"usage": "generic"}, "client.import-curve"),
        (Curve.P256, {"usage": "generic", "spec": "p256-ecdsa", "custody": "threshold"}, "order.custody"),
        (Curve.ED25519, {"usage": "generic", "nodes": ["node-1", "node-9"]}, "unavailable.nodes"),
        (Curve.ED25519, {"usage": "generic", "shares_needed": 6}, "order.shares-needed"),
        (Curve.ED25519, {"usage": "generic", "policy": "pol_" + "z" * 26}, "order.policy"),
    ],
)
async def test_orders_that_cannot_be(
    fabric: Fabric, operator: Client, curve: Curve, terms: dict[str, Any], code: str
) -> None:
    """The wrong curve, custody, nodes, thresholds and policies."""
    with from_hex(os.urandom(32).hex().encode(), curve) as material, pytest.raises(CodedError) as caught:
        await operator.keys.import_key("odd", material, **({"policy": fabric.policy_id} | terms))
    assert caught.value.code == code


async def test_agents_import_nothing(fabric: Fabric, agent: Client) -> None:
    """Making keys is an administrator's business, with one's own key, too."""
    with from_hex(os.urandom(32).hex().encode(), Curve.ED25519) as material, pytest.raises(ClientError) as caught:
        await agent.keys.import_key("mine", material, usage="generic", policy=fabric.policy_id)
    assert caught.value.code == "role.missing"


async def test_unverified_clusters_get_no_keys(fabric: Fabric) -> None:
    """Without attestation there is nobody to seal to."""
    async with connect(fabric, as_agent=False, insecure_skip_attestation=True) as client:
        with from_hex(os.urandom(32).hex().encode(), Curve.ED25519) as material, pytest.raises(ConfigurationError):
            await client.keys.import_key("blind", material, usage="generic", policy=fabric.policy_id)


@pytest.mark.parametrize(
    "body", [b'{"private_key":"%s"}' % (b"ab" * 32), b"abandon " * 11 + b"about", canonical_json({"pem": "-----BEGIN"})]
)
async def test_private_keys_in_the_open_are_refused(fabric: Fabric, operator: Client, body: bytes) -> None:
    """Not taken, not repeated, and not even a digest of them kept."""
    token = fabric.operator_token("keys.import", "key_" + "a" * 26, body)
    status, answer = await fabric.ask("POST", "/v1/keys/import", token=token, body=body)
    assert (status, answer["code"]) == (400, "import.plaintext")
    assert "abab" not in json.dumps(answer)
    stored = fabric.database
    assert body not in stored
    assert hashlib.sha256(body).hexdigest().encode() not in stored
    assert hashlib.sha256(body).digest() not in stored


async def test_a_dealer_that_cheats_one_node(fabric: Fabric, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An importer's bad share is found by its receiver before anybody has a key, and the answer names that node."""
    honest = Dealing.sealed

    def cheating(self: Dealing, standings: Any) -> KeyUpload:
        self._shares[3] = ED25519.random_scalar()
        return honest(self, standings)

    monkeypatch.setattr(Dealing, "sealed", cheating)
    before = {slot: len(node.keys) for slot, node in fabric.nodes.items()}
    with (
        from_hex(os.urandom(32).hex().encode(), Curve.ED25519) as material,
        pytest.raises(RequestRefusedError) as caught,
    ):
        await operator.keys.import_key("cheated", material, usage="generic", policy=fabric.policy_id)
    assert (caught.value.code, caught.value.status) == ("import.share", 422)
    assert "node-4" in caught.value.detail
    assert {slot: len(node.keys) for slot, node in fabric.nodes.items()} == before


async def test_a_node_that_lies_about_accepting(fabric: Fabric, operator: Client) -> None:
    """A forged acceptance stops the import everywhere; afterwards the same key can be imported."""

    def lie(_verb: str, _request: Message, reply: Message) -> Message:
        return msgspec.structs.replace(reply, signature=bytes(64)) if isinstance(reply, ImportAccepted) else reply

    key = os.urandom(32).hex().encode()
    fabric.corrupt("node-5", lie)
    try:
        with from_hex(key, Curve.ED25519) as material, pytest.raises(RequestRefusedError) as caught:
            await operator.keys.import_key("forged", material, usage="generic", policy=fabric.policy_id)
        assert caught.value.code == "import.acceptances"
    finally:
        fabric.corrupt("node-5", None)
    with from_hex(key, Curve.ED25519) as material:
        assert not (
            await operator.keys.import_key("honest", material, usage="generic", policy=fabric.policy_id)
        ).missing


async def test_a_node_that_is_away(fabric: Fabric, operator: Client) -> None:
    """Every holder must be verified and take its share; the others can be named instead."""
    await fabric.stop_node("node-5")
    try:
        with from_hex(os.urandom(32).hex().encode(), Curve.ED25519) as material:
            with pytest.raises(ClientError) as caught:
                await operator.keys.import_key("all", material, usage="generic", policy=fabric.policy_id)
            assert caught.value.code == "unavailable.nodes"
            nodes = fabric.slots[:4]
            some = await operator.keys.import_key(
                "some", material, usage="generic", policy=fabric.policy_id, nodes=nodes
            )
            assert some.to_json()["nodes"] == nodes
    finally:
        await fabric.start_node("node-5")
        await fabric.trusted(*fabric.slots)


async def test_another_record_is_not_believed(
    fabric: Fabric, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that answers an import with another key of the cluster is caught."""
    other = await operator.keys.create("other", usage="generic", policy=fabric.policy_id)
    token = fabric.operator_token("keys.get", other.key, b"")
    _, record = await fabric.ask("GET", f"/v1/keys/{other.key}", token=token)
    honest = operator.caller.send

    async def lying(method: str, path: str, **options: Any) -> Any:
        answer = await honest(method, path, **options)
        return answer | {"record": record} if path == "/v1/keys/import" else answer

    monkeypatch.setattr(operator.caller, "send", lying)
    with from_hex(os.urandom(32).hex().encode(), Curve.ED25519) as material, pytest.raises(VerificationError) as caught:
        await operator.keys.import_key("swapped", material, usage="generic", policy=fabric.policy_id)
    assert caught.value.code == "verify.resource"


async def test_many_imports_at_once(fabric: Fabric, operator: Client, agent: Client) -> None:
    """Interleaved imports do not disturb each other."""

    async def one(number: int) -> None:
        seed = os.urandom(32)
        with from_hex(seed.hex().encode(), Curve.ED25519) as material:
            made = await operator.keys.import_key(f"n{number}", material, usage="generic", policy=fabric.policy_id)
        signed = await agent.sign.message(made.key, b"%d" % number)
        NaclKey(seed).verify_key.verify(b"%d" % number, signed.ed25519)

    await asyncio.gather(*(one(number) for number in range(6)))


async def test_a_gateway_that_died_in_between(
    fabric: Fabric, operator: Client, agent: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepted everywhere, begun at one node, nobody told: a later gateway finishes it from the nodes' own words."""
    seed = os.urandom(32)

    async def dying(_fleet: Any, certificate: KeyCertificate, accepted: list[ImportAccepted]) -> Any:
        commit = ImportCommit(transcript=certificate.transcript, accepted=accepted)
        await fabric.gateway.fleet.links["node-2"].call("import-commit", commit)
        raise UnavailableError("gone", code="import-unfinished")

    with monkeypatch.context() as patched, from_hex(seed.hex().encode(), Curve.ED25519) as material:
        patched.setattr(imports, "_begin", dying)
        with pytest.raises(RequestRefusedError) as caught:
            await operator.keys.import_key("orphan", material, usage="generic", policy=fabric.policy_id)
        assert caught.value.code == "import-unfinished"
    assert "orphan" not in [key.certificate.name async for key in operator.keys.list()]
    gateway = fabric.gateway
    await imports.resume(gateway.fleet, gateway.store, gateway.keyring)
    assert "orphan" not in [key.certificate.name async for key in operator.keys.list()]  # its relay may be at it
    monkeypatch.setattr(imports, "RESUME_AFTER_S", -5)
    await imports.resume(gateway.fleet, gateway.store, gateway.keyring)
    (found,) = [key async for key in operator.keys.list() if key.certificate.name == "orphan"]
    assert set(found.signers) == set(fabric.slots)
    signed = await agent.sign.message(found.key, b"hello")
    assert signed.ed25519 is not None
    NaclKey(seed).verify_key.verify(b"hello", signed.ed25519)
