"""Request tokens: an agent's or operator's signature over one exact request (specs/request-tokens.md).

Checked in this order, each with its own code: form, type, algorithm, key, signature, claims,
audience, act, resource, lifetime, clock, boot, body.  RFC 8725 rules: the algorithm is the
registered key's, `typ` is explicit, `crit` and unknown header members or claims are refused,
JSON is strict.  A verified token names everything a node may act on; nothing else does.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, NoReturn

import jwt
from jwt.algorithms import Algorithm

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url, b64url_decode
from attestation.errors import DocumentError
from enclave.errors import CallerError, TokenError
from enclave.federation import SEPARATOR, Federation, access_hash, bound_key, jwk_of
from enclave.ids import KeyId, check_id
from enclave.signing_key import ALGORITHMS, PublicKey, SigningKey

__all__ = [
    "Act",
    "PublicKey",
    "SigningKey",
    "Token",
    "key_resource",
    "make_token",
    "parse_key_resource",
    "read_token",
    "verify_token",
]

TOKEN_TYPE = "holdfast-request+jwt"  # noqa: S105 - a media type, not a secret

TOKEN_BYTES_MAX = 4096
"""Largest token in bytes; ours are below 800, and servers limit a header line to 8 KiB."""

LIFETIME_S_MAX = 60
"""Longest `exp - iat` in seconds: bounds what a stolen token is worth and how long a ledger must remember it."""

FUTURE_S_MAX = 5
"""How far `iat` may lie ahead of the verifier's clock, in seconds."""

VERIFIED_KEPT = 256
"""Signatures remembered with their result, which never changes: a batch asks for the same one with every item."""

_RESOURCE = re.compile(r"\*|[a-z0-9][a-z0-9_-]{0,63}(/[1-9][0-9]{0,8})?")
_JTI = re.compile(r"[A-Za-z0-9_-]{8,64}")
_HEADER = frozenset({"alg", "kid", "typ"})
_CLAIMS = frozenset({"iss", "sub", "aud", "act", "key", "iat", "exp", "jti", "bdh"})
_CLAIMS_OPTIONAL = frozenset({"htm", "htu", "ath"})
_UNSET = frozenset({"", "null", "undefined", "none", "nan", "true", "false", "[object object]"})


class Act(StrEnum):
    """What a token authorises."""

    SIGN = "sign"
    BATCH = "batch"
    DECRYPT = "decrypt"
    VERIFY = "verify"
    ENCRYPT = "encrypt"
    KEYS_CREATE = "keys.create"
    KEYS_LIST = "keys.list"
    KEYS_GET = "keys.get"
    KEYS_IMPORT = "keys.import"
    KEYS_EXPORT = "keys.export"
    NODES_GET = "nodes.get"
    POLICIES_GET = "policies.get"
    AGENTS_LIST = "agents.list"
    AUDIT_READ = "audit.read"
    EVENTS_READ = "events.read"
    RECEIPTS_GET = "receipts.get"
    DOCUMENTS_PUT = "documents.put"
    SECRETS_PUT = "secrets.put"
    SECRETS_GET = "secrets.get"
    SECRETS_RELEASE = "secrets.release"
    OPERATIONS_GET = "operations.get"
    OPERATIONS_DECIDE = "operations.decide"
    OPERATIONS_CANCEL = "operations.cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A verified token; times in Unix seconds."""

    issuer: str
    """`agt_...` or `opr_...`."""
    kid: str
    act: Act
    resource: str
    """`key_.../<version>`, another resource id, or `*`."""
    request_id: bytes
    """SHA-256 of the token (with an ECDSA signature in low-s form): one request has one id."""
    issued_at: int
    expires_at: int
    jti: str
    method: str
    """HTTP method the client meant; only a gateway compares it."""
    url: str
    """HTTP path the client meant; only a gateway compares it."""
    text: str = ""
    """What the request id is the SHA-256 of."""


def make_token(
    signer: SigningKey,
    *,
    issuer: str,
    cluster: bytes,
    act: str,
    resource: str,
    body: bytes,
    now: int,
    method: str = "",
    url: str = "",
    lifetime_s: int = LIFETIME_S_MAX,
    jti: str | None = None,
    access_token: str = "",
) -> str:
    """Sign a token for exactly `body`; `jti` is random unless given.

    With an identity provider's access token the key goes along and both make one text (enclave.federation).
    Raises CallerError if an argument could not verify anywhere.
    """
    if act not in list(Act):
        raise CallerError(f"unknown act {act!r}", code="token.act")
    if not _RESOURCE.fullmatch(resource):
        raise CallerError("expected a resource id or *", code="token.resource")
    if not 1 <= lifetime_s <= LIFETIME_S_MAX:
        raise CallerError(f"expected a lifetime of 1 to {LIFETIME_S_MAX} s, found {lifetime_s}", code="token.lifetime")
    claims = {
        "iss": issuer,
        "sub": issuer,
        "aud": cluster.hex(),
        "act": str(act),
        "key": resource,
        "iat": now,
        "exp": now + lifetime_s,
        "jti": jti or b64url(os.urandom(16)),
        "bdh": _digest(body),
        "htm": method,
        "htu": url,
    }
    key: Any = signer
    header: dict[str, Any] = {"kid": signer.kid, "typ": TOKEN_TYPE}
    if access_token:
        claims["ath"] = access_hash(access_token)
        header["jwk"] = jwk_of(signer.public)
    token = _JWS.encode(canonical_json(claims), key, algorithm=signer.algorithm, headers=header)
    return token + SEPARATOR + access_token if access_token else token


def verify_token(
    token: str,
    *,
    body: bytes,
    cluster: bytes,
    now: int,
    keys: Callable[[str, str], PublicKey | None],
    act: str | None,
    resource: str | None = None,
    not_before: int = 0,
    federation: Federation | None = None,
) -> Token:
    """Check `token` over the exact `body` bytes and return what it authorises.

    `keys(issuer, kid)` is the registered key or None.  `act` and `resource` are compared when
    given.  `not_before` (Unix seconds, rounded up) is the verifier's boot or the key's
    activation: older tokens might have been executed already.  `federation` judges the access token that may go
    with it; without one such tokens are refused.

    Raises TokenError with one of the codes of specs/request-tokens.md.
    """
    token, access_token = _parted(token)
    header, claims, signature = _split(token)
    _check_header(header, is_federated=bool(access_token))
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        _refuse("token.malformed", "expected an issuer")
    if access_token:
        if federation is None:
            _refuse("oidc.refused", "this takes a registered key, not an identity provider's word")
        jkt = federation.confirmed(access_token, issuer, now)
        key: PublicKey | None = bound_key(header, claims, access_token, jkt)
    else:
        key = keys(issuer, header["kid"])
    if key is None:
        _refuse("token.unknown-key", "issuer and key id are not registered together")
    if header["alg"] != key.algorithm:
        _refuse("token.algorithm", f"the registered key signs {key.algorithm}, the token says {header['alg']}")
    _check_signature(token, key, signature)
    _check_claims(claims)
    if claims["aud"] != cluster.hex():
        _refuse("token.audience", "token is for another cluster")
    if claims["act"] not in list(Act) or (act is not None and claims["act"] != act):
        _refuse("token.act", f"expected act {act}, found {claims['act'][:32]!r}")
    if resource is not None and claims["key"] != resource:
        _refuse("token.resource", f"expected resource {resource}, found {claims['key']}")
    _check_times(claims["iat"], claims["exp"], now=now, not_before=not_before)
    if claims["bdh"] != _digest(body):
        _refuse("token.body", "the body is not the one the token was signed for")
    identity = token.rpartition(".")[0] + "." + b64url(key.one_spelling(signature))
    return Token(
        issuer=issuer,
        kid=header["kid"],
        act=Act(claims["act"]),
        resource=claims["key"],
        request_id=hashlib.sha256(identity.encode("ascii")).digest(),
        issued_at=claims["iat"],
        expires_at=claims["exp"],
        jti=claims["jti"],
        method=claims.get("htm", ""),
        url=claims.get("htu", ""),
        text=identity,
    )


def read_token(token: str, *, body: bytes, cluster: bytes) -> Token:
    """What a token says for exactly this body and cluster, its signature and times NOT verified.

    For those who see what others verify: an approver's client.  Raises TokenError.
    """
    token, access_token = _parted(token)
    header, claims, signature = _split(token)
    _check_header(header, is_federated=bool(access_token))
    _check_claims(claims)
    if claims["aud"] != cluster.hex():
        _refuse("token.audience", "token is for another cluster")
    if claims["act"] not in list(Act):
        _refuse("token.act", "unknown act")
    if claims["bdh"] != _digest(body):
        _refuse("token.body", "the body is not the one the token was signed for")
    spelling = PublicKey(algorithm=header["alg"], key=b"").one_spelling(signature)
    identity = token.rpartition(".")[0] + "." + b64url(spelling)
    return Token(
        issuer=claims["iss"],
        kid=header["kid"],
        act=Act(claims["act"]),
        resource=claims["key"],
        request_id=hashlib.sha256(identity.encode("ascii")).digest(),
        issued_at=claims["iat"],
        expires_at=claims["exp"],
        jti=claims["jti"],
        method=claims.get("htm", ""),
        url=claims.get("htu", ""),
        text=identity,
    )


def key_resource(key: str, version: int = 1) -> str:
    """The `key` claim for one version of a key."""
    return f"{key}/{version}"


def parse_key_resource(resource: str) -> tuple[KeyId, int]:
    """Key id and version of a `key` claim; raises TokenError (`token.resource`)."""
    key, _, version = resource.partition("/")
    try:
        check_id(key, "sec" if key.startswith("sec_") else "key")
    except CallerError:
        _refuse("token.resource", "expected key_... and a version", hint="the claim looks like key_.../1")
    if not version.isascii() or not version.isdecimal() or version[0] == "0" or len(version) > 9:
        _refuse("token.resource", "expected a key version", hint="the claim looks like key_.../1")
    return KeyId(key), int(version)


def _split(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, claims (neither verified) and signature."""
    if not isinstance(token, str) or token.strip().lower() in _UNSET:
        _refuse("token.missing", "expected a request token", hint="the variable that holds the token seems unset")
    if len(token) > TOKEN_BYTES_MAX or not token.isascii():
        _refuse("token.malformed", f"expected at most {TOKEN_BYTES_MAX} ASCII bytes")
    parts = token.split(".")
    if len(parts) != 3:
        _refuse("token.malformed", f"expected three parts separated by dots, found {len(parts)}")
    try:
        header = parse_json(b64url_decode(parts[0]), depth_max=4)
        claims = parse_json(b64url_decode(parts[1]), depth_max=4)
        signature = b64url_decode(parts[2])
    except DocumentError as error:
        _refuse("token.malformed", error.detail)
    if not isinstance(header, dict) or not isinstance(claims, dict):
        _refuse("token.malformed", "expected a JSON object as header and as claims")
    return header, claims, signature


def _parted(token: str) -> tuple[str, str]:
    """The request token, and the access token behind it if there is one."""
    proof, _, access_token = str(token).partition(SEPARATOR)
    return proof, access_token


def _check_header(header: dict[str, Any], *, is_federated: bool) -> None:
    if header.get("typ") != TOKEN_TYPE:
        _refuse("token.type", f"expected typ {TOKEN_TYPE}")
    if header.get("alg") not in ALGORITHMS:
        _refuse("token.algorithm", f"expected alg of {', '.join(ALGORITHMS)}")
    if set(header) != (_HEADER | {"jwk"} if is_federated else _HEADER) or not isinstance(header["kid"], str):
        _refuse("token.malformed", "expected exactly alg, kid and typ in the header")


def _check_signature(token: str, key: PublicKey, signature: bytes) -> None:
    # Not decoded a second time by a library: that would cost as much as the signature.
    if not _verifies(key, token.rpartition(".")[0], signature):
        _refuse("token.signature", "signature does not verify under the registered key")


@lru_cache(maxsize=VERIFIED_KEPT)
def _verifies(key: PublicKey, signed: str, signature: bytes) -> bool:
    return key.verify(signed.encode("ascii"), signature)


def _check_claims(claims: dict[str, Any]) -> None:
    names = set(claims)
    if not names >= _CLAIMS or names - _CLAIMS - _CLAIMS_OPTIONAL:
        _refuse("token.malformed", f"expected the claims {', '.join(sorted(_CLAIMS))} and no unknown ones")
    for name in names - {"iat", "exp"}:
        if not isinstance(claims[name], str):
            _refuse("token.malformed", f"expected claim {name} to be a string")
    for name in ("iat", "exp"):
        if type(claims[name]) is not int or claims[name] < 0:
            _refuse("token.malformed", f"expected claim {name} to be an integer of Unix seconds")
    if claims["sub"] != claims["iss"]:
        _refuse("token.malformed", "expected sub to equal iss")
    if not _JTI.fullmatch(claims["jti"]):
        _refuse("token.malformed", "expected jti of 8 to 64 base64url characters")
    if not _RESOURCE.fullmatch(claims["key"]):
        _refuse("token.malformed", "expected a resource id or * in claim key")


def _check_times(issued_at: int, expires_at: int, *, now: int, not_before: int) -> None:
    if not 1 <= expires_at - issued_at <= LIFETIME_S_MAX:
        _refuse("token.lifetime", f"expected a lifetime of 1 to {LIFETIME_S_MAX} s, found {expires_at - issued_at}")
    if issued_at > now + FUTURE_S_MAX:
        _refuse("token.from-future", f"issued {issued_at - now} s ahead of this clock", hint="check the client's clock")
    if now >= expires_at:
        _refuse("token.expired", f"expired {now - expires_at} s ago", hint="sign a fresh token for each request")
    if issued_at < not_before:
        _refuse("token.before-boot", "issued before this node started or the key became active", hint="sign it again")


def _digest(body: bytes) -> str:
    return b64url(hashlib.sha256(body).digest())


def _refuse(code: str, detail: str, *, hint: str | None = None) -> NoReturn:
    raise TokenError(detail, code=code, hint=hint) from None


class _RegisteredKey(Algorithm):
    """Lets PyJWT sign with our key objects, one instance per algorithm."""

    def __init__(self, name: str) -> None:
        self._name = name

    def prepare_key(self, key: Any) -> Any:
        if not isinstance(key, PublicKey | SigningKey) or key.algorithm != self._name:
            raise jwt.InvalidKeyError("key is registered for another algorithm")
        return key

    def sign(self, msg: bytes, key: SigningKey) -> bytes:
        return key.sign(msg)

    def verify(self, msg: bytes, key: PublicKey, sig: bytes) -> bool:
        return self.prepare_key(key) is key and key.verify(msg, sig)

    def check_key_length(self, key: Any) -> str | None:  # noqa: ARG002 - the base class asks; ours have one length
        return None

    @staticmethod
    def to_jwk(key_obj: Any, as_dict: bool = False) -> NoReturn:
        raise NotImplementedError

    @staticmethod
    def from_jwk(jwk: Any) -> NoReturn:
        raise NotImplementedError


def _registered_algorithms_only() -> jwt.PyJWS:
    """A JWS codec that knows our three algorithms and, in particular, neither `none` nor HMAC."""
    codec = jwt.PyJWS()
    for name in codec.get_algorithms():
        codec.unregister_algorithm(name)
    for name in ALGORITHMS:
        codec.register_algorithm(name, _RegisteredKey(name))
    return codec


_JWS = _registered_algorithms_only()
