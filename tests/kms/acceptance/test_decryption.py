"""Decryption: ciphertexts of a stock HPKE sender, opened at the edge, at a recipient and inside an enclave.

The recipient's part is written here from specs/threshold-decryption.md, over plain integers and the
standard primitives: whoever has the document can write another client.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac, hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.enclave.group_oracle import EdwardsOracle
from tests.kms.acceptance.api import Agent, RefusedError, b64, tagged, unb64

pytestmark = pytest.mark.cluster

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
TEXT = b"sealed by somebody who never heard of this project"
CURVE = EdwardsOracle()


def public(agent: Agent, key: str) -> X25519PublicKey:
    """The key as JWK (RFC 8037), loaded."""
    found = agent.get(key, "/public-key?format=jwk")["public_key"]
    assert (found["kty"], found["crv"]) == ("OKP", "X25519")
    return X25519PublicKey.from_public_bytes(unb64(found["x"]))


def sealed(agent: Agent, key: str, context: dict[str, str] | None = None, text: bytes = TEXT) -> bytes:
    """What a stock sender makes; with a context its `info` is the documented form, else empty."""
    info = (
        b"" if not context else tagged("context", json.dumps(context, sort_keys=True, separators=(",", ":")).encode())
    )
    return SUITE.encrypt(text, public(agent, key), info=info)


def opened(points: list[bytes], ciphertext: bytes, key: X25519PublicKey) -> bytes:
    """RFC 9180 base mode with the Diffie-Hellman value given as a sum of Edwards points."""
    _, y = CURVE.decode(CURVE.sum(*points))
    shared = ((1 + y) * pow(1 - y, -1, CURVE.p) % CURVE.p).to_bytes(32, "little")
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
    secret = _expand(
        kem, _extract(kem, b"", b"eae_prk", shared), b"shared_secret", ciphertext[:32] + key.public_bytes_raw(), 32
    )
    context = b"\x00" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", b"")
    schedule = _extract(suite, secret, b"secret", b"")
    nonce = _expand(suite, schedule, b"base_nonce", context, 12)
    return AESGCM(_expand(suite, schedule, b"key", context, 32)).decrypt(nonce, ciphertext[32:], b"")


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    keyed = hmac.HMAC(salt or bytes(32), hashes.SHA256())
    keyed.update(b"HPKE-v1" + suite + label + material)
    return keyed.finalize()


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(algorithm=hashes.SHA256(), length=size, info=labelled).derive(key)


def test_at_the_edge(agent: Agent, keys: dict[str, str]) -> None:
    """Where policy lets the gateway see plaintexts, it answers with one; with proofs too."""
    for members in ({}, {"proofs": True}):
        answer = agent.post(keys["vault"], "decrypt", {"ciphertext": b64(sealed(agent, keys["vault"]))} | members)
        assert unb64(answer["plaintext"]) == TEXT


def test_at_the_recipient(agent: Agent, keys: dict[str, str]) -> None:
    """Partial points arrive sealed by stock HPKE; their sum opens the ciphertext here, and two of three do not."""
    recipient, ciphertext = X25519PrivateKey.generate(), sealed(agent, keys["vault"])
    request = {"ciphertext": b64(ciphertext), "recipient": b64(recipient.public_key().public_bytes_raw())}
    answer = agent.post(keys["vault"], "decrypt", request)
    assert "plaintext" not in answer
    points = []
    for item in answer["partials"]:
        info = tagged("partial", bytes.fromhex(answer["request_id"]), keys["vault"].encode(), item["slot"].encode())
        points.append(SUITE.decrypt(unb64(item["sealed"]), recipient, info=info))
    assert len(points) == 3
    assert opened(points, ciphertext, public(agent, keys["vault"])) == TEXT
    with pytest.raises(InvalidTag):
        opened(points[:2], ciphertext, public(agent, keys["vault"]))


def inside(agent: Agent, key: str, ciphertext: bytes, context: dict[str, str]) -> bytes:
    """Opened by node-3 for a fresh recipient."""
    recipient = X25519PrivateKey.generate()
    request = {
        "ciphertext": b64(ciphertext),
        "context": context,
        "recipient": b64(recipient.public_key().public_bytes_raw()),
        "opened_in_enclave": "node-3",
    }
    answer = agent.post(key, "decrypt", request)
    assert (answer["opened_by"], "plaintext" in answer, "partials" in answer) == ("node-3", False, False)
    info = tagged("opened-plaintext", bytes.fromhex(answer["request_id"]), key.encode(), b"node-3")
    return SUITE.decrypt(unb64(answer["sealed"]), recipient, info=info)


def test_inside_an_enclave(agent: Agent, bound: str) -> None:
    """The named node opens under the context that policy allows; another tenant's ciphertext it does not."""
    assert inside(agent, bound, sealed(agent, bound, {"tenant": "a"}), {"tenant": "a"}) == TEXT
    for context, code in (({"tenant": "a"}, "decrypt.failed"), ({"tenant": "b"}, "policy.denied")):
        with pytest.raises(RefusedError) as caught:
            inside(agent, bound, sealed(agent, bound, {"tenant": "b"}), context)
        assert caught.value.code == code


def test_partials_are_not_given_where_the_context_decides(agent: Agent, bound: str) -> None:
    """Whatever context is claimed, a partial would open every context: neither recipient nor edge gets one."""
    recipient = {"recipient": b64(X25519PrivateKey.generate().public_key().public_bytes_raw())}
    for members in ({}, recipient):
        request: dict[str, Any] = {"ciphertext": b64(sealed(agent, bound, {"tenant": "a"})), "context": {"tenant": "a"}}
        with pytest.raises(RefusedError) as caught:
            agent.post(bound, "decrypt", request | members)
        assert caught.value.code == "policy.denied"


def test_rewrap(agent: Agent, bound: str, keys: dict[str, str]) -> None:
    """The plaintext moves to the key that policy names, and to no other, without leaving the enclave in clear."""
    request = {
        "ciphertext": b64(sealed(agent, bound, {"tenant": "a"})),
        "context": {"tenant": "a"},
        "opened_in_enclave": "node-2",
        "to": keys["vault"],
        "to_context": {"archive": "1"},
    }
    moved = agent.post(bound, "rewrap", request, act="decrypt")
    assert (moved["to"], moved["opened_by"], "plaintext" in moved) == (keys["vault"], "node-2", False)
    request2 = {"ciphertext": moved["ciphertext"], "context": {"archive": "1"}}
    assert unb64(agent.post(keys["vault"], "decrypt", request2)["plaintext"]) == TEXT
    with pytest.raises(RefusedError) as caught:
        agent.post(bound, "rewrap", request | {"to": keys["other-vault"]}, act="decrypt")
    assert caught.value.code == "policy.denied"


def test_what_does_not_open(agent: Agent, keys: dict[str, str]) -> None:
    """A changed tag, another key's ciphertext, another context, small order, the twist, too short: one code."""
    good = sealed(agent, keys["vault"])
    cases: list[tuple[bytes, dict[str, str]]] = [
        (good[:-1] + bytes([good[-1] ^ 1]), {}),
        (sealed(agent, keys["other-vault"]), {}),
        (good, {"a": "b"}),
        (bytes(32) + good[32:], {}),
        ((2).to_bytes(32, "little") + good[32:], {}),
        (((1 << 255) - 18).to_bytes(32, "little") + good[32:], {}),
        (good[:33], {}),
    ]
    for ciphertext, context in cases:
        with pytest.raises(RefusedError) as caught:
            agent.post(keys["vault"], "decrypt", {"ciphertext": b64(ciphertext), "context": context})
        assert (caught.value.status, caught.value.code) == (422, "decrypt.failed")
