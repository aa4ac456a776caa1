"""Tokens: the exact text that is signed, checked by PyJWT, and headers or claims that are not understood."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from enclave.errors import CallerError
from enclave.payload.jws import may_be_jws
from enclave.payload.sign import Payload, parse_sign_body

CLAIMS = {"iss": "agent", "aud": "api", "exp": 2_000_000_000, "scope": "read"}


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read(spec: str, claims: Any = CLAIMS, **members: Any) -> Payload:
    """The payload of one request."""
    raw = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    body = {"kind": "jws", "claims": b64(raw), **members}
    return parse_sign_body(json.dumps(body).encode(), "generic", spec)


def refused(spec: str = "ed25519", claims: Any = CLAIMS, **members: Any) -> str:
    """The code of one request."""
    with pytest.raises(CallerError) as caught:
        read(spec, claims, **members)
    return caught.value.code


def test_an_eddsa_token_is_read_by_another_library() -> None:
    """Ed25519 keys sign the input itself."""
    key = ed25519.Ed25519PrivateKey.generate()
    payload = read("ed25519", header={"typ": "at+jwt", "kid": "one"})
    assert payload.jws is not None
    assert payload.message is not None
    token = payload.jws.compact(key.sign(payload.message))
    assert jwt.decode(token, key.public_key(), algorithms=["EdDSA"], audience="api") == CLAIMS
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "at+jwt", "kid": "one"}


@pytest.mark.parametrize(
    ("spec", "curve", "algorithm"),
    [("p256-ecdsa", ec.SECP256R1(), "ES256"), ("secp256k1-ecdsa", ec.SECP256K1(), "ES256K")],
)
def test_an_ecdsa_token_is_read_by_another_library(spec: str, curve: ec.EllipticCurve, algorithm: str) -> None:
    """ECDSA keys sign its SHA-256; the signature is r and s."""
    key = ec.generate_private_key(curve)
    payload = read(spec)
    assert payload.jws is not None
    assert payload.digest is not None
    r, s = decode_dss_signature(key.sign(payload.digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
    token = payload.jws.compact(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert jwt.decode(token, pem, algorithms=[algorithm], audience="api") == CLAIMS


def test_the_claims_are_signed_as_they_were_written() -> None:
    """Spaces and order stay: a verifier may compare bytes."""
    written = b'{ "b": 1,\n  "a": 2 }'
    payload = read("ed25519", written)
    assert payload.jws is not None
    assert payload.jws.signing_input.endswith(b"." + b64(written).encode())


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"crit": ["b64"]},
        {"b64": False},
        {"jwk": {}},
        {"jku": "https://x"},
        {"typ": 1},
    ],
)
def test_headers_that_change_the_meaning_are_refused(header: dict[str, Any]) -> None:
    """Only type, key id and content type may be set."""
    assert refused(header=header) in ("payload.jws", "payload.malformed")


def test_the_keys_own_algorithm_may_be_named() -> None:
    """Saying what would be used anyway is no error."""
    assert read("ed25519", header={"alg": "EdDSA"}).jws is not None


@pytest.mark.parametrize(
    "claims", [b"", b"[]", b'"text"', b'{"a":1,"a":2}', b'{"a":1}{', b'{"a":9007199254740993}', b"\xff"]
)
def test_claims_that_two_readers_could_read_differently_are_refused(claims: bytes) -> None:
    """Repeated names, other types, numbers beyond 2^53, bytes that are no text."""
    assert refused(claims=claims) in ("payload.jws", "payload.malformed")


def test_a_taproot_key_signs_no_tokens() -> None:
    """There is no algorithm name for it."""
    assert refused("secp256k1-schnorr") == "payload.jws"


@pytest.mark.parametrize("usage", ["evm", "solana", "bitcoin"])
def test_only_generic_keys_sign_tokens(usage: str) -> None:
    """Usage separates wallets from identities."""
    body = json.dumps({"kind": "jws", "claims": b64(b"{}")}).encode()
    with pytest.raises(CallerError) as caught:
        parse_sign_body(body, usage, "ed25519" if usage == "solana" else "secp256k1-ecdsa")
    assert caught.value.code == "payload.usage"


def test_a_token_smuggled_as_message_is_refused() -> None:
    """A rule about messages never signs what a rule about tokens should have read."""
    payload = read("ed25519")
    assert payload.jws is not None
    body = json.dumps({"kind": "message", "message": b64(payload.jws.signing_input)}).encode()
    with pytest.raises(CallerError) as caught:
        parse_sign_body(body, "generic", "ed25519")
    assert caught.value.code == "payload.looks-like-token"


@pytest.mark.parametrize(
    ("message", "could_be"),
    [
        (b"hello.world", False),
        (b"", False),
        (b"e30.e30", False),
        (b64(b'{"alg":"none"}').encode() + b".", True),
        (b64(b'{"alg":"none"}').encode() + b".e30", True),
        (b64(b'{"alg":"none"}').encode() + b".e30.e30", True),
        (b64(b'{"typ":"x"}').encode() + b".e30", False),
        (b64(b'{"alg":"none"}').encode(), False),
        (b"eyes are open. They see", False),
        (b"e. g. this", False),
        (b".", False),
        (b64(b'{"alg":"EdDSA","b64":false,"crit":["b64"]}').encode() + b".pay 100 to bob", True),
        (b64(b'{"alg":"EdDSA"}').encode() + b"\n.e30", True),
        (b64(b'{"alg":"EdDSA"}').encode() + b"=.e30", True),
        (b"!" + b64(b'{"alg":"EdDSA"}').encode() + b".e30", True),
        (b64(b'{"alg":"EdDSA","x":"\xff"}').encode() + b".e30", True),
        (b64(b'\xef\xbb\xbf {\n "alg":"EdDSA"}').encode() + b".e30", True),
        (b64(b'{"\\u0061lg":"EdDSA"}').encode() + b".e30", True),
        (
            b64(b'{"alg":"EdDSA","kid":"\xc3\xbf\xc3\xbe??>>"}').replace("-", "+").replace("_", "/").encode() + b".",
            True,
        ),
    ],
)
def test_what_could_be_a_token(message: bytes, could_be: bool) -> None:
    """What stands before the first dot could be a header with an algorithm, to however lenient a reader."""
    assert may_be_jws(message) is could_be


def test_a_token_with_an_unencoded_payload_is_no_message() -> None:
    """A signature of these bytes is a token to a library that knows RFC 7797: its header says how to read the rest."""
    header = b64(b'{"alg":"EdDSA","b64":false,"crit":["b64"]}').encode()
    signing_input, key = header + b".pay 100 to bob", ed25519.Ed25519PrivateKey.generate()
    compact = header + b".." + b64(key.sign(signing_input)).encode()
    found = jwt.PyJWS().decode_complete(
        compact, key.public_key(), algorithms=["EdDSA"], detached_payload=b"pay 100 to bob"
    )
    assert found["payload"] == b"pay 100 to bob"
    with pytest.raises(CallerError) as caught:
        parse_sign_body(json.dumps({"kind": "message", "message": b64(signing_input)}).encode(), "generic", "ed25519")
    assert caught.value.code == "payload.looks-like-token"
