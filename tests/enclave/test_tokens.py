"""Request tokens: each refusal has its own code, and nothing but the failing fact causes it."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import pickle
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from attestation.envelope import b64url
from attestation.errors import DocumentError
from enclave.errors import CallerError, TokenError
from enclave.signing_key import ALGORITHMS, PublicKey, SigningKey
from enclave.tokens import Act, Token, key_resource, make_token, parse_key_resource, verify_token
from tests.enclave.samples import AGENT, KEY, NOW, an_id, seeded_key

NO_CLOCK: Any = {"verify_exp": False, "verify_iat": False}
TYPED = {"typ": "holdfast-request+jwt"}
CLUSTER = hashlib.sha256(b"cluster").digest()
BODY = b'{"kind":"message","message":"aGk"}'
SIGNER = seeded_key("agent")
OTHER = seeded_key("other agent")


def keys(*registered: SigningKey, issuer: str = AGENT) -> Callable[[str, str], PublicKey | None]:
    """A directory in which `issuer` has these keys."""
    known = {(issuer, key.kid): key.public for key in registered or (SIGNER,)}
    return lambda who, kid: known.get((who, kid))


def make(signer: SigningKey = SIGNER, **changes: Any) -> str:
    """A token that verifies unless changed."""
    values: dict[str, Any] = {
        "issuer": AGENT,
        "cluster": CLUSTER,
        "act": "sign",
        "resource": key_resource(KEY),
        "body": BODY,
        "now": NOW,
        "method": "POST",
        "url": f"/v1/keys/{KEY}/sign",
    }
    return make_token(signer, **values | changes)


def verify(token: Any, **changes: Any) -> Token:
    """Verify as a node does."""
    values: dict[str, Any] = {"body": BODY, "cluster": CLUSTER, "now": NOW + 1, "keys": keys(), "act": "sign"}
    return verify_token(token, **values | changes)


def refused(token: Any, **changes: Any) -> str:
    """The code with which `token` is refused."""
    with pytest.raises(TokenError) as caught:
        verify(token, **changes)
    return caught.value.code


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token."""
    header, claims, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, claims))  # type: ignore[return-value]


def resign(
    signer: SigningKey = SIGNER,
    *,
    header: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    raw_header: bytes | None = None,
    raw_claims: bytes | None = None,
    drop: str | None = None,
) -> str:
    """A validly signed token with changed members."""
    old_header, old_claims = parts(make(signer))
    new_claims = old_claims | (claims or {})
    new_claims.pop(drop or "", None)
    first = b64url(raw_header or json.dumps(old_header | (header or {})).encode())
    second = b64url(raw_claims or json.dumps(new_claims).encode())
    return f"{first}.{second}.{b64url(signer.sign(f'{first}.{second}'.encode()))}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_fresh_token_verifies_and_says_what_it_authorises(algorithm: str) -> None:
    """Every algorithm's token verifies and yields issuer, act, resource, times and the token's own hash as id."""
    signer = SigningKey.generate(algorithm)
    token = make(signer)
    found = verify(token, keys=keys(signer))
    assert (found.issuer, found.act, found.resource, found.kid) == (AGENT, Act.SIGN, f"{KEY}/1", signer.kid)
    assert (found.issued_at, found.expires_at) == (NOW, NOW + 60)
    assert (found.method, found.url) == ("POST", f"/v1/keys/{KEY}/sign")
    assert found.request_id == hashlib.sha256(token.encode()).digest()


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
def test_other_jwt_libraries_read_our_tokens(algorithm: str) -> None:
    """Stock PyJWT with stock keys verifies our token: the format is plain JWS."""
    signer = SigningKey.generate(algorithm)
    public: Any
    if algorithm == "EdDSA":
        public = signer.ed25519.public_key()
    else:
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), signer.public.key)
    token = make(signer, now=NOW)
    claims = jwt.decode(
        token,
        public,
        algorithms=[algorithm],
        audience=CLUSTER.hex(),
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["bdh"] == b64url(hashlib.sha256(BODY).digest())


def test_tokens_of_other_jwt_libraries_verify() -> None:
    """A token made by stock PyJWT with a P-256 key verifies, whichever form of s that library picked."""
    private = ec.generate_private_key(ec.SECP256R1())
    signer = SigningKey(private)
    _, claims = parts(make(signer))
    for _ in range(8):
        token = jwt.encode(
            claims, private, algorithm="ES256", headers={"typ": "holdfast-request+jwt", "kid": signer.kid}
        )
        assert verify(token, keys=keys(signer)).issuer == AGENT


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"now": NOW + 60}, "token.expired"),
        ({"now": NOW - 6}, "token.from-future"),
        ({"cluster": hashlib.sha256(b"another").digest()}, "token.audience"),
        ({"body": BODY + b" "}, "token.body"),
        ({"act": "decrypt"}, "token.act"),
        ({"resource": f"{KEY}/2"}, "token.resource"),
        ({"not_before": NOW + 1}, "token.before-boot"),
        ({"keys": keys(OTHER)}, "token.unknown-key"),
        ({"keys": keys(SIGNER, issuer=an_id("agt", 7))}, "token.unknown-key"),
    ],
)
def test_one_wrong_circumstance_gives_its_own_code(changes: dict[str, Any], code: str) -> None:
    """A good token met by one wrong fact of the verifier is refused with exactly that fact's code."""
    token = make()
    assert verify(token).act == "sign"
    assert refused(token, **changes) == code


def test_the_borders_of_time_are_inside() -> None:
    """Five seconds ahead, the last second of life and an equal start are accepted."""
    assert verify(make(), now=NOW - 5)
    assert verify(make(), now=NOW + 59)
    assert verify(make(), not_before=NOW)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"claims": {"exp": NOW + 61}}, "token.lifetime"),
        ({"claims": {"exp": NOW}}, "token.lifetime"),
        ({"claims": {"exp": NOW + 0.5}}, "token.malformed"),
        ({"claims": {"iat": True}}, "token.malformed"),
        ({"claims": {"iat": str(NOW)}}, "token.malformed"),
        ({"claims": {"exp": None}}, "token.malformed"),
        ({"claims": {"sub": an_id("agt", 5)}}, "token.malformed"),
        ({"claims": {"jti": ""}}, "token.malformed"),
        ({"claims": {"jti": "a" * 65}}, "token.malformed"),
        ({"claims": {"key": "../keys"}}, "token.malformed"),
        ({"claims": {"key": f"{KEY}/01"}}, "token.malformed"),
        ({"claims": {"act": "sign "}}, "token.act"),
        ({"claims": {"aud": [CLUSTER.hex()]}}, "token.malformed"),
        ({"claims": {"aud": CLUSTER.hex().upper()}}, "token.audience"),
        ({"claims": {"admin": True}}, "token.malformed"),
        ({"claims": {"nbf": NOW}}, "token.malformed"),
        ({"claims": {"scope": "all"}}, "token.malformed"),
        ({"claims": {"iat": -5, "exp": 5}}, "token.malformed"),
        ({"raw_header": b"[]"}, "token.malformed"),
        ({"raw_claims": b"[]"}, "token.malformed"),
        ({"raw_claims": b'"claims"'}, "token.malformed"),
        ({"drop": "bdh"}, "token.malformed"),
        ({"drop": "jti"}, "token.malformed"),
        ({"claims": {"iss": 5}}, "token.malformed"),
        ({"header": {"typ": "JWT"}}, "token.type"),
        ({"header": {"typ": "at+jwt"}}, "token.type"),
        ({"header": {"crit": ["b64"]}}, "token.malformed"),
        ({"header": {"jwk": {}}}, "token.malformed"),
        ({"header": {"jku": "https://example.org"}}, "token.malformed"),
        ({"header": {"kid": 5}}, "token.malformed"),
        ({"header": {"alg": "none"}}, "token.algorithm"),
        ({"header": {"alg": "HS256"}}, "token.algorithm"),
        ({"header": {"alg": "ES256"}}, "token.algorithm"),
        ({"header": {"alg": ["EdDSA"]}}, "token.algorithm"),
        ({"header": {"alg": "eddsa"}}, "token.algorithm"),
    ],
)
def test_one_wrong_member_in_a_signed_token_gives_its_own_code(changes: dict[str, Any], code: str) -> None:
    """A validly signed token with one wrong header member or claim is refused for that and nothing else."""
    assert refused(resign(**changes)) == code


def test_a_missing_token_gets_a_hint() -> None:
    """Words that programs print for an unset variable are reported as a missing token."""
    for word in ("", " ", "null", "undefined", "None", "NaN", "true", "[object Object]"):
        with pytest.raises(TokenError) as caught:
            verify(word)
        assert caught.value.code == "token.missing"
        assert caught.value.hint == "the variable that holds the token seems unset"
    assert refused(None) == "token.missing"


def test_repeated_members_are_refused() -> None:
    """A header or claims object that repeats a key is refused, although it is validly signed."""
    header, claims = (json.dumps(part) for part in parts(make()))
    assert refused(resign(raw_header=(header[:-1] + ', "alg": "EdDSA"}').encode())) == "token.malformed"
    assert refused(resign(raw_claims=(claims[:-1] + ', "act": "sign"}').encode())) == "token.malformed"


def test_a_foreign_signature_is_refused() -> None:
    """A token signed by another key under the registered key id fails the signature only."""
    first, second, _ = make().split(".")
    forged = f"{first}.{second}.{b64url(OTHER.sign(f'{first}.{second}'.encode()))}"
    assert refused(forged) == "token.signature"


def test_an_unsigned_token_is_refused() -> None:
    """Algorithm none with an empty signature never verifies."""
    header, claims = parts(make())
    first = b64url(json.dumps(header | {"alg": "none"}).encode())
    assert refused(f"{first}.{b64url(json.dumps(claims).encode())}.") == "token.algorithm"


def test_the_public_key_is_not_an_hmac_secret() -> None:
    """The classic confusion, an HMAC keyed with the public key, is refused in both spellings of alg."""
    for algorithm, code in (("HS256", "token.algorithm"), ("EdDSA", "token.signature")):
        header, claims = parts(make())
        signed = f"{b64url(json.dumps(header | {'alg': algorithm}).encode())}.{b64url(json.dumps(claims).encode())}"
        tag = hmac.new(SIGNER.public.key, signed.encode(), hashlib.sha256).digest()
        assert refused(f"{signed}.{b64url(tag)}") == code


def test_a_key_id_of_somebody_else_does_not_help() -> None:
    """A kid that names another agent's key is unknown for this issuer, and its own issuer is not ours."""
    both = {(AGENT, SIGNER.kid): SIGNER.public, (an_id("agt", 9), OTHER.kid): OTHER.public}
    directory = lambda who, kid: both.get((who, kid))  # noqa: E731
    assert refused(resign(OTHER), keys=directory) == "token.unknown-key"
    assert refused(resign(header={"kid": OTHER.kid}), keys=directory) == "token.unknown-key"


def test_the_curve_of_the_registered_key_decides() -> None:
    """An ES256K token does not verify for a key registered as ES256, although both are 33 bytes."""
    signer = SigningKey.generate("ES256K")
    other = SigningKey.generate("ES256")
    lying = lambda _who, _kid: other.public  # noqa: E731
    assert refused(make(signer), keys=lying) == "token.algorithm"


@pytest.mark.parametrize("algorithm", ["ES256", "ES256K"])
def test_a_flipped_ecdsa_signature_is_the_same_request(algorithm: str) -> None:
    """Replacing s by n - s verifies but keeps the request id, so it cannot be executed as a new request."""
    signer = SigningKey.generate(algorithm)
    token = make(signer)
    head, _, tail = token.rpartition(".")
    signature = base64.urlsafe_b64decode(tail + "==")
    order = {"ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551}.get(
        algorithm, 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    )
    flipped = signature[:32] + (order - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    other = f"{head}.{b64url(flipped)}"
    assert other != token
    assert verify(other, keys=keys(signer)).request_id == verify(token, keys=keys(signer)).request_id


def test_every_changed_character_is_refused() -> None:
    """No token that differs in one character verifies: no part is malleable."""
    token = make()
    for position in range(0, len(token), 3):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        with pytest.raises(TokenError):
            verify(changed)


@pytest.mark.parametrize("tail", ["=", "==", "\n", " ", ".", "A", ".AA"])
def test_nothing_may_follow_a_token(tail: str) -> None:
    """Padding, white space or another part after a good token makes it malformed or wrongly signed."""
    assert refused(make() + tail) in {"token.malformed", "token.signature"}


def test_an_oversized_token_is_refused_before_parsing() -> None:
    """More than 4 KiB is malformed, whatever it holds."""
    with pytest.raises(TokenError, match="at most 4096"):
        verify(make(url="/" + "a" * 4000))


@pytest.mark.parametrize("text", ["e30", "e30.e30", "e30.e30.AA.AA"])
def test_a_token_has_three_parts(text: str) -> None:
    """One, two or four parts are malformed."""
    with pytest.raises(TokenError, match="expected three parts"):
        verify(text)


def test_an_unknown_act_is_refused_by_verifiers_of_any_act() -> None:
    """A verifier that takes every act still takes only known ones."""
    assert verify(make(act="decrypt"), act=None).act is Act.DECRYPT
    assert refused(resign(claims={"act": "admin"}), act=None) == "token.act"


@given(st.text(max_size=200) | st.binary(max_size=80).map(lambda data: f"{b64url(data)}.{b64url(data)}.{b64url(data)}"))
def test_hostile_text_only_raises_token_errors(text: str) -> None:
    """Whatever arrives as a token, the only outcome is a TokenError."""
    with pytest.raises(TokenError):
        verify(text)


PEM = b"-----BEGIN PRIVATE KEY-----\n%b\n-----END PRIVATE KEY-----\n"
CLAIM_NAMES = st.sampled_from(["iss", "sub", "aud", "act", "key", "iat", "exp", "jti", "bdh", "x"])
CLAIM_VALUES = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(CLAIM_NAMES, CLAIM_VALUES))
def test_hostile_claims_only_raise_token_errors(claims: dict[str, Any]) -> None:
    """Validly signed claims of any type are refused with a TokenError."""
    with pytest.raises(TokenError):
        verify(resign(raw_claims=json.dumps(claims).encode()))


def test_making_a_token_refuses_what_nobody_would_accept() -> None:
    """An unknown act, a path as resource and a long life are refused before signing."""
    for changes, code in (
        ({"act": "admin"}, "token.act"),
        ({"resource": "a/b"}, "token.resource"),
        ({"lifetime_s": 61}, "token.lifetime"),
        ({"lifetime_s": 0}, "token.lifetime"),
    ):
        with pytest.raises(CallerError) as caught:
            make(**changes)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "resource",
    [
        "*",
        KEY,
        f"{KEY}/",
        f"{KEY}/0",
        f"{KEY}/01",
        f"{KEY}/-1",
        f"{KEY}/1/2",
        f"{AGENT}/1",
        f"{KEY}/\u0661",
        f"{KEY}/9999999999",
    ],
)
def test_only_a_key_with_a_version_is_a_key_resource(resource: str) -> None:
    """A claim that does not name one version of one key is refused where a key is needed."""
    with pytest.raises(TokenError) as caught:
        parse_key_resource(resource)
    assert caught.value.code == "token.resource"
    assert parse_key_resource(f"{KEY}/12") == (KEY, 12)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_keys_survive_their_file(algorithm: str) -> None:
    """A key written as PEM, plain or encrypted, reads back as the same key, and only with its password."""
    signer = SigningKey.generate(algorithm)
    assert SigningKey.from_pem(signer.to_pem()).kid == signer.kid
    locked = signer.to_pem(password=b"correct horse")
    assert SigningKey.from_pem(locked, password=b"correct horse").kid == signer.kid
    for password in (None, b"wrong"):
        with pytest.raises(CallerError) as caught:
            SigningKey.from_pem(locked, password=password)
        assert caught.value.code == "credential.malformed"


def test_other_key_types_are_refused() -> None:
    """RSA and P-384 keys are not credentials."""
    for private in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with pytest.raises(CallerError) as caught:
            SigningKey.from_pem(pem)
        assert caught.value.code == "credential.type"


@given(st.binary(max_size=200))
def test_hostile_key_files_only_raise_caller_errors(data: bytes) -> None:
    """Any bytes given as a key file are refused with our error."""
    with pytest.raises(CallerError):
        SigningKey.from_pem(
            b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(data) + b"\n-----END PRIVATE KEY-----\n"
        )


def test_a_private_key_is_not_copied_or_printed() -> None:
    """Pickling and copying raise; repr shows the key id only."""
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(CallerError):
            attempt(SIGNER)  # type: ignore[operator]
    assert repr(SIGNER) == f"<SigningKey EdDSA {SIGNER.kid}>"


P256_KEY = ec.derive_private_key(7, ec.SECP256R1()).public_key()
P256 = P256_KEY.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
P256_UNCOMPRESSED = P256_KEY.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def test_only_ed25519_keys_sign_documents_and_files_are_bounded() -> None:
    """The envelope key of an ECDSA credential does not exist, and a key file has a largest size."""
    assert SIGNER.ed25519
    with pytest.raises(CallerError) as caught:
        SigningKey.generate("ES256").ed25519  # noqa: B018 - reading it is the test
    assert caught.value.code == "credential.type"
    with pytest.raises(CallerError, match="too large"):
        SigningKey.from_pem(SIGNER.to_pem() + b"\n" * 4096)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("EdDSA", bytes(32)),
        ("EdDSA", b"\x01" + bytes(31)),
        ("EdDSA", bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")),
        ("EdDSA", b"\xff" * 32),
        ("EdDSA", SIGNER.public.key + b"\x00"),
        ("ES256", b"\x02" + b"\xff" * 32),
        ("ES256", b"\x04" + bytes(64)),
        ("ES256K", b"\x00" * 33),
        ("HS256", bytes(32)),
        ("HS256", P256),
        (["ES256"], P256),
        ("ES256", P256_UNCOMPRESSED),
        ("ES256K", P256_UNCOMPRESSED[:33]),
        ("none", b""),
        (None, bytes(32)),
    ],
)
def test_weak_or_malformed_public_keys_are_not_registered(algorithm: Any, key: bytes) -> None:
    """Small-order, off-curve, wrongly sized keys and unknown algorithms raise document.key."""
    with pytest.raises(DocumentError) as caught:
        PublicKey.parse(algorithm, key)
    assert caught.value.code == "document.key"
