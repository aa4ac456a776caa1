"""Keys made and used through HTTP by five honest nodes; other libraries than the product's own check the results."""

from __future__ import annotations

import hashlib
from typing import Any

import coincurve
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from eth_account import Account
from eth_account.messages import encode_defunct

from attestation.envelope import b64url, b64url_decode
from enclave.ceremonies import key_id_of as node_key_id_of
from enclave.certificate import certificate_from_json, verify_certificate
from enclave.threshold.hpke import combine
from enclave.threshold.hpke import open as open_sealed
from enclave.wire.message import tagged
from kms.fleet.ceremony import key_id_of
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ed25519(fabric: Fabric) -> dict[str, Any]:
    """A 3-of-5 Ed25519 key."""
    return await fabric.create_key()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def evm(fabric: Fabric) -> dict[str, Any]:
    """A 3-of-5 secp256k1 key with two assemblers."""
    return await fabric.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sealing(fabric: Fabric) -> dict[str, Any]:
    """A 3-of-5 decryption key."""
    return await fabric.create_key(spec="hpke-x25519", usage="decrypt")


async def test_new_key_is_certified_by_its_nodes(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """The certificate in the answer verifies under the nodes' own identity keys, and says what was ordered."""
    body, signatures = certificate_from_json(ed25519["certificate"])
    identities = {slot: node.identity.public.identity_key for slot, node in fabric.nodes.items()}
    certificate = verify_certificate(
        body, signatures, identities=identities, cluster=fabric.roster.cluster_id, signers_min=5
    )
    assert (certificate.key, certificate.public_key.hex()) == (ed25519["key"], ed25519["public_key"])
    assert (ed25519["shares_needed"], ed25519["privacy_threshold"], ed25519["signing_quorum"]) == (3, 3, 3)


async def test_ed25519_signature_verifies(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """A message signed by three of five verifies under OpenSSL."""
    status, answer = await fabric.sign(ed25519, b"hello")
    assert status == 200, answer
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(ed25519["public_key"]))
    public.verify(b64url_decode(answer["signature"]["ed25519"]), b"hello")
    assert len(answer["signers"]) == 3


async def test_request_id_is_the_hash_of_the_token(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """What the answer calls the request is what every node's ledger calls it."""
    body = b'{"kind":"message","message":"AAAA"}'
    token = fabric.token("sign", f"{ed25519['key']}/1", body)
    status, answer = await fabric.ask("POST", f"/v1/keys/{ed25519['key']}/sign", token=token, body=body)
    assert (status, answer["request_id"]) == (200, hashlib.sha256(token.encode()).hexdigest())


async def test_work_is_spread_over_the_nodes(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """Idle nodes are chosen at random: in thirty signatures every one of five takes part."""
    seen: set[str] = set()
    for number in range(30):
        _, answer = await fabric.sign(ed25519, b"%d" % number)
        seen |= set(answer["signers"])
    assert seen == set(fabric.slots)


async def test_evm_transaction_is_ready_to_broadcast(fabric: Fabric, evm: dict[str, Any]) -> None:
    """eth-account recovers the key's address from the raw transaction."""
    transaction = {
        "type": 2, "chain_id": 1, "nonce": 7, "gas": 21000, "to": "0x" + "11" * 20, "value": "1000",
        "max_fee_per_gas": "2000000000", "max_priority_fee_per_gas": "1", "data": "0x", "access_list": [],
    }  # fmt: skip
    status, answer = await fabric.use(evm, "sign", {"kind": "evm_transaction", "transaction": transaction})
    assert status == 200, answer
    assert Account.recover_transaction(answer["signature"]["raw_transaction"]) == evm["addresses"]["evm"]


async def test_personal_message_recovers_the_address(fabric: Fabric, evm: dict[str, Any]) -> None:
    """eth-account recovers the key's address from an EIP-191 signature; DER and r, s are the same signature."""
    status, answer = await fabric.use(evm, "sign", {"kind": "eip191", "message": b64url(b"gm")})
    assert status == 200, answer
    signature = answer["signature"]
    vrs = (27 + signature["y_parity"], int(signature["r"], 16), int(signature["s"], 16))
    assert Account.recover_message(encode_defunct(b"gm"), vrs=vrs) == evm["addresses"]["evm"]
    raw = coincurve.ecdsa.serialize_compact(coincurve.ecdsa.der_to_cdata(b64url_decode(signature["der"])))
    assert raw.hex() == signature["r"] + signature["s"]


async def test_every_signature_of_a_reconstruct_key_needs_an_assembler(fabric: Fabric, evm: dict[str, Any]) -> None:
    """The record names the enclaves that see the key, and says that one of them is enough to learn it."""
    assert (evm["assemblers"], evm["privacy_threshold"]) == (["node-1", "node-2"], 1)
    _, answer = await fabric.use(evm, "sign", {"kind": "eip191", "message": "AAAA"})
    assert set(answer["signers"]) & set(evm["assemblers"])


async def test_stock_hpke_sender_is_decrypted(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """What any RFC 9180 sender seals to the public key comes back as plaintext where policy lets the gateway see it."""
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(sealing["public_key"]))
    ciphertext = b64url(SUITE.encrypt(b"from anybody", public))
    status, answer = await fabric.use(sealing, "decrypt", {"ciphertext": ciphertext})
    assert status == 200, answer
    assert b64url_decode(answer["plaintext"]) == b"from anybody"


async def test_recipient_alone_can_open(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """With a recipient the gateway gets sealed partials only; the recipient combines and opens them."""
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(sealing["public_key"]))
    info = tagged("context", b'{"user":"7"}')
    sealed = SUITE.encrypt(b"for one pair of eyes", public, info=info)
    recipient = X25519PrivateKey.generate()
    value = {
        "ciphertext": b64url(sealed),
        "context": {"user": "7"},
        "recipient": b64url(recipient.public_key().public_bytes_raw()),
    }
    status, answer = await fabric.use(sealing, "decrypt", value)
    assert status == 200, answer
    assert "plaintext" not in answer
    partials = {}
    for item in answer["partials"]:
        bound = tagged("partial", bytes.fromhex(answer["request_id"]), sealing["key"].encode(), item["slot"].encode())
        partials[item["index"]] = SUITE.decrypt(b64url_decode(item["sealed"]), recipient, info=bound)
    dh = combine(partials)
    plaintext = open_sealed(dh, sealed[:32], sealed[32:], bytes.fromhex(sealing["public_key"]), info)
    assert plaintext == b"for one pair of eyes"


async def test_encrypt_and_decrypt_keep_the_context(fabric: Fabric, sealing: dict[str, Any]) -> None:
    """What the encrypt endpoint seals opens under the same context."""
    value = {"plaintext": b64url(b"secret"), "context": {"a": "1"}}
    status, answer = await fabric.use(sealing, "encrypt", value)
    assert status == 200, answer
    status, answer = await fabric.use(sealing, "decrypt", {"ciphertext": answer["ciphertext"], "context": {"a": "1"}})
    assert (status, b64url_decode(answer["plaintext"])) == (200, b"secret")


async def test_verify_tells_true_from_false(fabric: Fabric, ed25519: dict[str, Any], evm: dict[str, Any]) -> None:
    """The verify endpoint accepts what was signed and refuses it for another message, for both algorithms."""
    for record, kind in ((ed25519, "message"), (evm, "eip191")):
        payload = {"kind": kind, "message": b64url(b"signed")}
        _, answer = await fabric.use(record, "sign", payload)
        for message, valid in ((b"signed", True), (b"other", False)):
            value = {"payload": payload | {"message": b64url(message)}, "signature": answer["signature"]}
            status, verdict = await fabric.use(record, "verify", value)
            assert (status, verdict["valid"]) == (200, valid), verdict


@pytest.mark.parametrize("format_", ["raw", "pem", "jwk", "evm"])
async def test_public_key_formats_agree(fabric: Fabric, evm: dict[str, Any], format_: str) -> None:
    """Each form of the public key is the certified key."""
    path = f"/v1/keys/{evm['key']}/public-key"
    token = fabric.token("keys.get", evm["key"], b"")
    status, answer = await fabric.ask("GET", f"{path}?format={format_}", token=token)
    assert status == 200, answer
    point = coincurve.PublicKey(bytes.fromhex(evm["public_key"]))
    found = answer["public_key"]
    if format_ == "jwk":
        assert bytes([4]) + b64url_decode(found["x"]) + b64url_decode(found["y"]) == point.format(compressed=False)
    elif format_ == "pem":
        assert coincurve.PublicKey.from_secret is not None
        assert point.format(compressed=False) in _der(found)
    else:
        assert found == (evm["public_key"] if format_ == "raw" else evm["addresses"]["evm"])


def _der(pem: str) -> bytes:
    import base64

    return base64.b64decode("".join(pem.splitlines()[1:-1]))


async def test_gateway_and_nodes_derive_the_same_key_id() -> None:
    """The id of a new key follows from the order's request id at both ends."""
    assert key_id_of(b"r" * 32) == node_key_id_of(b"r" * 32)


async def test_repeated_order_makes_one_key(fabric: Fabric) -> None:
    """The same order under the same Idempotency-Key answers with the identical record."""
    body = fabric.order(name="once")
    answers = []
    for _ in range(2):
        token = fabric.operator_token("keys.create", "*", body)
        answers.append(
            await fabric.send("POST", "/v1/keys", token=token, body=body, headers={"Idempotency-Key": "order-1"})
        )
    assert [answer[0] for answer in answers] == [201, 201]
    assert answers[0][1] == answers[1][1]
    assert answers[1][2]["Idempotent-Replayed"] == "true"


async def test_identical_request_gets_the_identical_signature(fabric: Fabric, evm: dict[str, Any]) -> None:
    """Sending one token twice gives the stored answer, byte for byte, although ECDSA would sign anew."""
    body = b'{"kind":"eip191","message":"AAAA"}'
    token = fabric.token("sign", f"{evm['key']}/1", body)
    path = f"/v1/keys/{evm['key']}/sign"
    first = await fabric.send("POST", path, token=token, body=body)
    second = await fabric.send("POST", path, token=token, body=body)
    assert (first[0], first[1]) == (second[0], second[1])
    assert second[2]["Idempotent-Replayed"] == "true"


async def test_keys_are_listed_in_pages(fabric: Fabric, ed25519: dict[str, Any], evm: dict[str, Any]) -> None:
    """Pages of one key join up to all keys, each once."""
    found: list[str] = []
    cursor = ""
    while True:
        path = "/v1/keys?limit=1" + (f"&cursor={cursor}" if cursor else "")
        _, page = await fabric.ask("GET", path, token=fabric.token("keys.list", "*", b""))
        found += [record["key"] for record in page["keys"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert found == sorted(set(found))
    assert {ed25519["key"], evm["key"]} <= set(found)


async def test_certificate_follows_a_reboot(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """After a node rebooted, the record carries a signature of its new identity key."""
    await fabric.stop_node("node-5")
    await fabric.start_node("node-5")
    await fabric.trusted(*fabric.slots)
    token = fabric.token("keys.get", ed25519["key"], b"")
    status, record = await fabric.ask("GET", f"/v1/keys/{ed25519['key']}", token=token)
    assert status == 200, record
    body, signatures = certificate_from_json(record["certificate"])
    keys = {slot: fabric.nodes[slot].identity.public.identity_key for slot in ("node-3", "node-4", "node-5")}
    verify_certificate(body, signatures, identities=keys, cluster=fabric.roster.cluster_id)


async def test_disabled_key_refuses_everywhere_until_enabled(fabric: Fabric) -> None:
    """A signed key-state document stops a key at every node, and another lets it go on."""
    record = await fabric.create_key(name="paused")
    for sequence, (verb, status) in enumerate((("disable", 409), ("enable", 200)), 1):
        document = fabric.key_state(record["key"], f"{verb}d", sequence)
        put, answer = await fabric.put("POST", f"/v1/keys/{record['key']}/{verb}", document)
        assert (put, len(answer["acknowledgements"])) == (200, 5)
        found, answer = await fabric.sign(record, b"x")
        assert found == status, answer
        if status == 409:
            assert answer["code"] == "key.disabled"


async def test_bip340_signature_verifies(fabric: Fabric) -> None:
    """A message signed by three of five verifies under libsecp256k1; altered it does not."""
    record = await fabric.create_key(name="schnorr", spec="secp256k1-schnorr", usage="generic")
    status, answer = await fabric.sign(record, b"taproot")
    assert status == 200, answer
    value = {"payload": {"kind": "message", "message": b64url(b"taproot")}, "signature": answer["signature"]}
    status, verdict = await fabric.use(record, "verify", value)
    assert (status, verdict["valid"]) == (200, True)
    public = coincurve.PublicKeyXOnly(bytes.fromhex(record["public_key"])[1:])
    digest = _tagged_hash("Holdfast/message", b"taproot")
    assert public.verify(b64url_decode(answer["signature"]["bip340"]), digest)
    assert not public.verify(b64url_decode(answer["signature"]["bip340"]), _tagged_hash("Holdfast/message", b"other"))


def _tagged_hash(tag: str, message: bytes) -> bytes:
    """BIP-340's tagged hash."""
    prefix = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(prefix + prefix + message).digest()


async def test_threshold_ecdsa_recovers_the_address(fabric: Fabric) -> None:
    """Three of five sign without ever putting the key together; two would know it, and the record says so."""
    record = await fabric.create_key(
        name="threshold", spec="secp256k1-ecdsa", usage="evm", custody="threshold", shares_needed=2
    )
    assert (record["assemblers"], record["privacy_threshold"], record["signing_quorum"]) == ([], 2, 3)
    for number in range(3):
        value = {"kind": "eip191", "message": b64url(b"%d" % number)}
        status, answer = await fabric.use(record, "sign", value)
        assert status == 200, answer
        signature = answer["signature"]
        vrs = (27 + signature["y_parity"], int(signature["r"], 16), int(signature["s"], 16))
        assert Account.recover_message(encode_defunct(b"%d" % number), vrs=vrs) == record["addresses"]["evm"]
        assert len(answer["signers"]) == 3
