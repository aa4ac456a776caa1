"""Threshold decryption at the nodes: stock HPKE in, partial points out, sealed to whom the agent named."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import hpke as stock
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.certificate import KeyCertificate
from enclave.handlers.decrypt import partial_info
from enclave.payload.decrypt import context_info
from enclave.threshold import hpke
from enclave.wire.decrypt import PartialRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import ALLOW_DECRYPT, World, message_body

SUITE = stock.Suite(stock.KEM.X25519, stock.KDF.HKDF_SHA256, stock.AEAD.AES_256_GCM)
SIGNERS = ["node-1", "node-3", "node-5"]
PLAINTEXT = b"the launch code"


@pytest.fixture
def key(ready: World) -> KeyCertificate:
    """A decryption key usable now."""
    certificate = ready.create_key(spec="hpke-x25519", usage="decrypt")
    ready.now += 1
    return certificate


def sealed(key: KeyCertificate, context: dict[str, str]) -> bytes:
    """What any standard HPKE sender makes for the certified key."""
    return SUITE.encrypt(PLAINTEXT, X25519PublicKey.from_public_bytes(key.public_key), info=context_info(context))


def body_of(ciphertext: bytes, **members: Any) -> bytes:
    """The body of a decrypt request."""
    return canonical_json({"ciphertext": b64url(ciphertext)} | members)


def request(world: World, key: KeyCertificate, body: bytes, **changes: Any) -> PartialRequest:
    """The agent's request for partials."""
    token = changes.pop("token", None) or world.token(key, body, act="decrypt")
    return PartialRequest(token=token, body=body, signers=changes.get("signers", SIGNERS))


@pytest.mark.parametrize("context", [{}, {"tenant": "a", "purpose": "test"}])
def test_a_recipient_opens_what_a_stock_sender_sealed(
    ready: World, key: KeyCertificate, context: dict[str, str]
) -> None:
    """Partials come sealed to the recipient by stock HPKE, and combine to the plaintext at the client alone."""
    recipient = X25519PrivateKey.generate()
    ciphertext = sealed(key, context)
    extra: dict[str, Any] = {"context": context} if context else {}
    body = body_of(ciphertext, recipient=b64url(recipient.public_key().public_bytes_raw()), **extra)
    asked = request(ready, key, body)
    request_id = ready.request_id(asked.token, body)
    partials = {}
    for slot in SIGNERS:
        reply = ready.call(slot, "partial", asked)
        assert reply.partial is None
        point = SUITE.decrypt(reply.sealed, recipient, info=partial_info(request_id, key.key, slot))
        node = key.node(slot)
        assert node is not None
        partials[node.index] = point
    dh = hpke.combine(partials)
    opened = hpke.open(dh, ciphertext[:32], ciphertext[32:], key.public_key, context_info(context))
    assert opened == PLAINTEXT


def test_a_clear_partial_needs_a_rule_that_says_so(ready: World, key: KeyCertificate) -> None:
    """Without a recipient the gateway would see the plaintext: denied unless policy allows exactly that."""
    body = body_of(sealed(key, {}))
    assert code_of(ready.call, "node-1", "partial", request(ready, key, body)) == "policy.denied"
    ready.put(ready.policy_document(ALLOW_DECRYPT | {"plaintext_to_gateway": "allow"}, version=2))
    asked = request(ready, key, body)
    replies = {slot: ready.call(slot, "partial", asked) for slot in SIGNERS}
    assert all(reply.sealed is None for reply in replies.values())
    dh = hpke.combine({node.index: replies[node.slot].partial for node in key.nodes if node.slot in replies})
    ciphertext = sealed(key, {})
    assert code_of(hpke.open, dh, ciphertext[:32], ciphertext[32:], key.public_key, b"") == "decrypt.failed"


def test_a_signing_token_decrypts_nothing(ready: World, key: KeyCertificate) -> None:
    """The act is part of what the agent signed."""
    body = body_of(sealed(key, {}))
    assert code_of(ready.call, "node-1", "partial", request(ready, key, body, token=ready.token(key, body))) == (
        "token.act"
    )


def test_a_signing_key_decrypts_nothing(ready: World) -> None:
    """A key made for signatures is no Diffie-Hellman oracle."""
    certificate = ready.create_key()
    ready.now += 1
    body = body_of(bytes(range(64)))
    assert code_of(ready.call, "node-1", "partial", request(ready, certificate, body)) == "key.spec"


@pytest.mark.parametrize("enc", [bytes(32), b"\1" + bytes(31), b"\xff" * 32, (2).to_bytes(32, "little")])
def test_points_no_sender_makes_are_refused(ready: World, key: KeyCertificate, enc: bytes) -> None:
    """Small-order, non-canonical and twist points get the one answer every bad ciphertext gets."""
    recipient = b64url(X25519PrivateKey.generate().public_key().public_bytes_raw())
    body = body_of(enc + bytes(32), recipient=recipient)
    assert code_of(ready.call, "node-1", "partial", request(ready, key, body)) == "decrypt.failed"


def test_a_useless_recipient_is_refused(ready: World, key: KeyCertificate) -> None:
    """A recipient key that anyone could open is not sealed to."""
    body = body_of(sealed(key, {}), recipient=b64url(bytes(32)))
    assert code_of(ready.call, "node-1", "partial", request(ready, key, body)) == "payload.recipient"


def test_a_sign_body_is_no_decrypt_body(ready: World, key: KeyCertificate) -> None:
    """Bodies of one verb are not read by another."""
    assert code_of(ready.call, "node-1", "partial", request(ready, key, message_body(b"x"))) == "payload.malformed"


def test_decryption_asks_the_same_questions(ready: World, key: KeyCertificate) -> None:
    """Signer set, membership, verdicts and attempts are checked as for a signature."""
    recipient = b64url(X25519PrivateKey.generate().public_key().public_bytes_raw())
    body = body_of(sealed(key, {}), recipient=recipient)
    asked = request(ready, key, body)
    few = request(ready, key, body, token=asked.token, signers=["node-1", "node-3"])
    assert code_of(ready.call, "node-1", "partial", few) == "signers.too-few"
    assert code_of(ready.call, "node-2", "partial", asked) == "signers.not-member"
    for _ in range(3):
        ready.call("node-1", "partial", asked)
    assert code_of(ready.call, "node-1", "partial", asked) == "token.replayed"
    ready.registry.revoke(ready.platform("node-5").platform_id, "sold", ready.now)
    ready.push()
    assert code_of(ready.call, "node-3", "partial", asked) == "attestation-denied"
