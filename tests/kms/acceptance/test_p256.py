"""P-256: signatures that OpenSSL accepts, under the key in the form it reads; tokens are in test_tokens."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.kms.acceptance.api import Agent, RefusedError, b64, unb64

pytestmark = pytest.mark.cluster


def test_openssl_verifies(agent: Agent, keys: dict[str, str]) -> None:
    """Message and digest, DER and PEM; another message does not verify."""
    key = load_pem_public_key(agent.get(keys["p256"], "/public-key?format=pem")["public_key"].encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    der = unb64(agent.sign(keys["p256"], "message", message=b64(b"invoice 7"))["der"])
    key.verify(der, b"invoice 7", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        key.verify(der, b"invoice 8", ec.ECDSA(hashes.SHA256()))
    digest = hashlib.sha256(b"invoice 9").digest()
    der = unb64(agent.sign(keys["p256"], "digest", digest=b64(digest))["der"])
    key.verify(der, digest, ec.ECDSA(Prehashed(hashes.SHA256())))


def test_no_children_and_no_transactions(agent: Agent, keys: dict[str, str]) -> None:
    """A child would have to be made from the private key; a transaction belongs to another usage."""
    with pytest.raises(RefusedError) as caught:
        agent.sign(keys["p256"], "message", message=b64(b"x"), path="m/0")
    assert caught.value.code == "derive.refused"
    with pytest.raises(RefusedError) as caught:
        agent.sign(keys["p256"], "eip191", message=b64(b"x"))
    assert caught.value.code == "payload.usage"
