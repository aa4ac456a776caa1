"""JSON Web Tokens: EdDSA, ES256 and ES256K, verified by PyJWT under the key as the API shows it."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.kms.acceptance.api import Agent, RefusedError, b64

pytestmark = pytest.mark.cluster

ALGORITHMS = {"ed25519": "EdDSA", "p256": "ES256", "secp256k1": "ES256K"}


def claims(**changes: Any) -> dict[str, Any]:
    """What the rule allows."""
    return {"iss": "robot", "aud": "shop", "exp": int(time.time()) + 300} | changes


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_token_verifies(agent: Agent, keys: dict[str, str], name: str) -> None:
    """The finished token, under the key as PEM; no other algorithm is accepted for it."""
    signed = agent.sign(keys[name], "jws", claims=b64(json.dumps(claims()).encode()), header={"typ": "at+jwt"})
    key: Any = load_pem_public_key(agent.get(keys[name], "/public-key?format=pem")["public_key"].encode())
    found = jwt.decode(signed["token"], key, algorithms=[ALGORITHMS[name]], audience="shop")
    assert (found["iss"], jwt.get_unverified_header(signed["token"])["typ"]) == ("robot", "at+jwt")
    others = [algorithm for algorithm in ALGORITHMS.values() if algorithm != ALGORITHMS[name]]
    with pytest.raises(jwt.InvalidAlgorithmError):
        jwt.decode(signed["token"], key, algorithms=others, audience="shop")


@pytest.mark.parametrize(
    ("changes", "header", "code"),
    [
        ({"iss": "somebody"}, {"typ": "at+jwt"}, "policy.denied"),
        ({"exp": 4_000_000_000}, {"typ": "at+jwt"}, "policy.denied"),
        ({}, {"typ": "JWT"}, "policy.denied"),
        ({}, {"typ": "at+jwt", "alg": "none"}, "payload.jws"),
    ],
)
def test_tokens_that_are_not_signed(
    agent: Agent, keys: dict[str, str], changes: dict[str, Any], header: dict[str, str], code: str
) -> None:
    """Another issuer, too long a life, another type, another algorithm."""
    with pytest.raises(RefusedError) as caught:
        agent.sign(keys["p256"], "jws", claims=b64(json.dumps(claims(**changes)).encode()), header=header)
    assert caught.value.code == code


def test_a_token_is_no_text(agent: Agent, keys: dict[str, str]) -> None:
    """Its signing input as kind `message`, where policy could not read the claims."""
    head = b64(b'{"alg":"ES256"}') + "." + b64(json.dumps(claims()).encode())
    with pytest.raises(RefusedError) as caught:
        agent.sign(keys["p256"], "message", message=b64(head.encode()))
    assert caught.value.code == "payload.looks-like-token"
