"""Child keys over HTTP: other libraries derive the same keys and check the signatures."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import coincurve
import pytest
import pytest_asyncio
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from eth_account import Account
from eth_account.messages import encode_defunct

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from enclave.certificate import KeyCertificate, certificate_from_json
from enclave.threshold.derive import DEPTH_MAX
from tests.kms.fabric import Fabric

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOO_MANY = DEPTH_MAX + 1
PATH, STEPS = "m/44/60/7", (44, 60, 7)
TAPROOT_TAG = hashlib.sha256(b"TapTweak").digest()
MESSAGE_TAG = hashlib.sha256(b"Holdfast/message").digest()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ed25519(fabric: Fabric) -> dict[str, Any]:
    """A 3-of-5 Ed25519 key."""
    return await fabric.create_key()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def evm(fabric: Fabric) -> dict[str, Any]:
    """A threshold ECDSA key: T = 2, three of five sign."""
    return await fabric.create_key(spec="secp256k1-ecdsa", usage="evm", shares_needed=2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bitcoin(fabric: Fabric) -> dict[str, Any]:
    """A Taproot key."""
    return await fabric.create_key(spec="secp256k1-schnorr", usage="bitcoin")


def certificate(record: dict[str, Any]) -> KeyCertificate:
    """What the nodes signed."""
    return KeyCertificate.parse(certificate_from_json(record["certificate"])[0])


def bip32(record: dict[str, Any], steps: tuple[int, ...]) -> coincurve.PublicKey:
    """CKDpub of BIP-32 by libsecp256k1's wrapper, from the certificate alone."""
    parent = certificate(record)
    key, chain_code = coincurve.PublicKey(parent.public_key), parent.chain_code
    for step in steps:
        digest = hmac.digest(chain_code, key.format() + step.to_bytes(4, "big"), "sha512")
        key, chain_code = key.add(digest[:32]), digest[32:]
    return key


async def derive(fabric: Fabric, record: dict[str, Any], path: Any) -> tuple[int, Any]:
    """One call of the endpoint."""
    body = canonical_json({"path": path})
    token = fabric.token("keys.get", record["key"], body)
    return await fabric.ask("POST", f"/v1/keys/{record['key']}/derive", token=token, body=body)


async def test_evm_child_signs_and_recovers_to_its_own_address(fabric: Fabric, evm: dict[str, Any]) -> None:
    """Threshold ECDSA under a path: eth-account recovers the address that BIP-32 gives, which the endpoint shows."""
    status, child = await derive(fabric, evm, PATH)
    assert (status, child["public_key"]) == (200, bip32(evm, STEPS).format().hex())
    status, answer = await fabric.use(evm, "sign", {"kind": "eip191", "message": b64url(b"hello"), "path": PATH})
    assert status == 200, answer
    made = answer["signature"]
    vrs = (27 + made["y_parity"], int(made["r"], 16), int(made["s"], 16))
    sender = Account.recover_message(encode_defunct(b"hello"), vrs=vrs)
    assert sender == child["addresses"]["evm"] != evm["addresses"]["evm"]


async def test_ed25519_child_signs(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """FROST under a path: OpenSSL verifies under the child and refuses under the parent."""
    _, child = await derive(fabric, ed25519, "m/5")
    body = {"kind": "message", "message": b64url(b"hello"), "path": "m/5"}
    status, answer = await fabric.use(ed25519, "sign", body)
    assert status == 200, answer
    signature = b64url_decode(answer["signature"]["ed25519"])
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(child["public_key"])).verify(signature, b"hello")
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(ed25519["public_key"])).verify(signature, b"hello")


async def test_taproot_child_signs(fabric: Fabric, bitcoin: dict[str, Any]) -> None:
    """BIP-340 under a path: the signature is under the Taproot output key of the BIP-32 child."""
    status, answer = await fabric.use(
        bitcoin, "sign", {"kind": "message", "message": b64url(b"hello"), "path": "m/0/3"}
    )
    assert status == 200, answer
    child = bip32(bitcoin, (0, 3))
    even = coincurve.PublicKey(b"\2" + child.format()[1:])
    tweak = hashlib.sha256(TAPROOT_TAG * 2 + child.format()[1:]).digest()
    digest = hashlib.sha256(MESSAGE_TAG * 2 + b"hello").digest()
    output = coincurve.PublicKeyXOnly(even.add(tweak).format()[1:])
    assert output.verify(b64url_decode(answer["signature"]["bip340"]), digest)


async def test_verify_looks_at_the_path(fabric: Fabric, ed25519: dict[str, Any]) -> None:
    """A child's signature is valid for its path and for no other."""
    payload = {"kind": "message", "message": b64url(b"hello"), "path": "m/1"}
    _, answer = await fabric.use(ed25519, "sign", payload)
    found = []
    for path in ("m/1", "m/2", "m"):
        value = {"payload": payload | {"path": path}, "signature": answer["signature"]}
        found.append((await fabric.use(ed25519, "verify", value))[1]["valid"])
    assert found == [True, False, False]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "0/1",
        "m/",
        "m/01",
        "m/-1",
        "m/0'",
        "m/0h",
        "m/2147483648",
        "m//1",
        "m/1 ",
        "m/٣",
        "m" + "/0" * (DEPTH_MAX + 1),
    ],
)
async def test_bad_paths_are_refused(fabric: Fabric, ed25519: dict[str, Any], path: str) -> None:
    """Hardened, padded, empty, foreign and too many steps: `path.invalid` wherever a path is named."""
    status, answer = await derive(fabric, ed25519, path)
    assert (status, answer["code"]) == (422, "path.invalid")
    body = {"kind": "message", "message": b64url(b"hello"), "path": path}
    status, answer = await fabric.use(ed25519, "sign", body)
    assert (status, answer["code"]) == (422, "path.invalid")


@pytest.mark.parametrize("path", [None, 5, ["m", 0], {"m": 0}])
async def test_paths_of_another_type_are_refused(fabric: Fabric, ed25519: dict[str, Any], path: Any) -> None:
    """A path is text."""
    body = {"kind": "message", "message": b64url(b"hello"), "path": path}
    status, answer = await fabric.use(ed25519, "sign", body)
    assert (status, answer["code"]) == (422, "path.invalid")
    status, answer = await derive(fabric, ed25519, path)
    assert (status, answer["code"]) == (400, "request.malformed")


async def test_keys_that_must_not_have_children(fabric: Fabric) -> None:
    """Decryption keys and keys an assembler puts together are refused children."""
    decrypting = await fabric.create_key(spec="hpke-x25519", usage="decrypt")
    assembled = await fabric.create_key(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")
    for record in (decrypting, assembled):
        status, answer = await derive(fabric, record, "m/0")
        assert (status, answer["code"]) == (422, "derive.refused")
    body = {"kind": "eip191", "message": b64url(b"hello"), "path": "m/0"}
    status, answer = await fabric.use(assembled, "sign", body)
    assert (status, answer["code"]) == (422, "derive.refused")
