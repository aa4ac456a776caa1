"""Agents that sign in elsewhere: an identity provider's access token, bound to a key that signs each request.

The request token's signing key comes with it and is the one the access token confirms (RFC 9449: `cnf.jkt`).
Rules kept (specs/federation.md; RFC 8725, RFC 9068):
1. the provider is one the roster names and its keys are those pinned there; nothing is fetched;
2. the algorithm is the pinned key's, the type is explicit, JSON is strict;
3. the subject is one that a registrar's document gives to the agent: a provider cannot make agents;
4. the request token names the access token's hash, and its key is the one the access token is bound to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import jwt

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url, b64url_decode
from attestation.errors import DocumentError
from enclave.errors import TokenError
from enclave.signing_key import PublicKey

if TYPE_CHECKING:
    from enclave.documents import Agent
    from enclave.roster import Roster

ACCESS_TOKEN_BYTES_MAX = 8000
"""Largest access token in bytes: servers limit a header line to 8 KiB."""

TYPES = frozenset({"at+jwt", "application/at+jwt"})
"""`typ` of an access token (RFC 9068 section 2.1); an ID token has another and is none."""

SKEW_S_MAX = 5
"""How far the provider's clock may be off, in seconds."""

LIFETIME_S_MAX = 86_400
"""Longest life of an access token in seconds: it cannot be called back, only its subject can."""

SEPARATOR = "~"
"""Between a request token and the access token it goes with, where both travel as one text."""

_JWK = {"EdDSA": ("crv", "kty", "x"), "ES256": ("crv", "kty", "x", "y"), "ES256K": ("crv", "kty", "x", "y")}
_CURVES = {"EdDSA": ("OKP", "Ed25519"), "ES256": ("EC", "P-256"), "ES256K": ("EC", "secp256k1")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """What a verifier needs to know: the roster, and who is registered."""

    roster: Roster
    agent: Callable[[str], Agent | None]

    def confirmed(self, access_token: str, agent: str, now: int) -> str:
        """Thumbprint of the key that an access token is bound to, if it speaks for `agent` now.

        Raises TokenError (`oidc.*`).
        """
        header, claims = _read(access_token)
        issuer = self.roster.oidc_issuer(str(claims.get("iss")))
        if issuer is None:
            _refuse("issuer", "the roster names no such identity provider")
        pinned = issuer.key(header["kid"])
        if pinned is None:
            _refuse("unknown-key", "the roster pins no such key of the provider", hint="add it with a roster version")
        if header["alg"] != pinned["alg"]:
            _refuse("algorithm", f"the pinned key signs {pinned['alg']}, the token says {header['alg']}")
        _check_signature(access_token, pinned)
        _check_audience(claims, issuer.audiences)
        _check_times(claims, now)
        document = self.agent(agent)
        if document is None or (issuer.issuer, claims.get("sub")) not in document.subjects:
            _refuse("subject", "this subject is not registered for the agent", hint="a registrar signs it in")
        confirmation = claims.get("cnf")
        if not isinstance(confirmation, dict) or not isinstance(confirmation.get("jkt"), str):
            _refuse("confirmation", "the access token is bound to no key", hint="ask for one bound by DPoP")
        return str(confirmation["jkt"])


def bound_key(header: Mapping[str, Any], claims: Mapping[str, Any], access_token: str, jkt: str) -> PublicKey:
    """The key in a request token's header, if the access token is bound to it; raises TokenError (`oidc.*`)."""
    key = read_jwk(header.get("jwk"), str(header.get("alg")))
    if thumbprint(key) != jkt:
        _refuse("confirmation", "the access token is bound to another key")
    if header.get("kid") != key.kid:
        _refuse("confirmation", "kid is not the id of the key in the header")
    if claims.get("ath") != access_hash(access_token):
        _refuse("binding", "the request was signed for another access token")
    return key


def access_hash(access_token: str) -> str:
    """Claim `ath` (RFC 9449 section 4.2)."""
    return b64url(hashlib.sha256(access_token.encode("ascii", "replace")).digest())


def thumbprint(key: PublicKey) -> str:
    """JWK thumbprint (RFC 7638, SHA-256)."""
    return b64url(hashlib.sha256(canonical_json(jwk_of(key))).digest())


def jwk_of(key: PublicKey) -> dict[str, str]:
    """The public key as a JWK with its required members only."""
    kind, curve = _CURVES[key.algorithm]
    if key.algorithm == "EdDSA":
        return {"kty": kind, "crv": curve, "x": b64url(key.key)}
    x, y = key.coordinates
    return {"kty": kind, "crv": curve, "x": b64url(x), "y": b64url(y)}


def read_jwk(value: Any, algorithm: str) -> PublicKey:
    """The key of a JWK for an algorithm; raises TokenError (`oidc.confirmation`)."""
    if algorithm not in _JWK or not isinstance(value, dict) or tuple(sorted(value)) != _JWK[algorithm]:
        _refuse("confirmation", "expected the public key as jwk, with its required members only")
    if (value["kty"], value["crv"]) != _CURVES[algorithm] or not all(isinstance(item, str) for item in value.values()):
        _refuse("confirmation", "expected a jwk that fits alg")
    try:
        x = b64url_decode(value["x"])
        if algorithm == "EdDSA":
            return PublicKey.parse(algorithm, x)
        y = b64url_decode(value["y"])
        key = PublicKey.parse(algorithm, bytes([2 + (y[-1] & 1) if y else 2]) + x)
        if key.coordinates != (x, y):
            _refuse("confirmation", "expected a point of the curve")
    except DocumentError:
        _refuse("confirmation", "expected a public key of the curve")
    return key


def _read(access_token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    parts = access_token.split(".")
    if len(access_token) > ACCESS_TOKEN_BYTES_MAX or not access_token.isascii() or len(parts) != 3:
        _refuse("malformed", f"expected an access token of three parts and at most {ACCESS_TOKEN_BYTES_MAX} bytes")
    try:
        header = parse_json(b64url_decode(parts[0]), depth_max=8)
        claims = parse_json(b64url_decode(parts[1]), depth_max=16)
    except DocumentError as error:
        _refuse("malformed", error.detail)
    if not isinstance(header, dict) or not isinstance(claims, dict):
        _refuse("malformed", "expected JSON objects")
    if str(header.get("typ")).lower() not in TYPES:
        _refuse("type", "expected an access token of typ at+jwt", hint="an ID token is not for this")
    if not isinstance(header.get("kid"), str) or not isinstance(header.get("alg"), str) or "crit" in header:
        _refuse("malformed", "expected alg and kid in the header, and no crit")
    return header, claims


def _check_signature(access_token: str, pinned: Mapping[str, str]) -> None:
    key = _loaded(json.dumps(dict(pinned), sort_keys=True))
    try:
        # Times and audience are judged on this verifier's own clock and terms, not by the library.
        jwt.PyJWS().decode(access_token, key.key, algorithms=[pinned["alg"]])
    except jwt.PyJWTError:
        _refuse("signature", "the access token is not signed by the pinned key")


@lru_cache(maxsize=256)
def _loaded(jwk: str) -> jwt.PyJWK:
    """A pinned key in the library's form; the roster has checked it."""
    return jwt.PyJWK.from_json(jwk)


def _check_audience(claims: Mapping[str, Any], accepted: tuple[str, ...]) -> None:
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not any(isinstance(item, str) and item in accepted for item in named):
        _refuse("audience", "the access token is for another audience")


def _check_times(claims: Mapping[str, Any], now: int) -> None:
    issued, expires, begins = claims.get("iat"), claims.get("exp"), claims.get("nbf", 0)
    if not all(type(value) is int for value in (issued, expires, begins)):
        _refuse("malformed", "expected iat and exp as integers of Unix seconds")
    assert isinstance(issued, int)
    assert isinstance(expires, int)
    if not 0 < expires - issued <= LIFETIME_S_MAX:
        _refuse("lifetime", f"expected a lifetime of at most {LIFETIME_S_MAX} s")
    if max(issued, begins) > now + SKEW_S_MAX:
        _refuse("from-future", "the access token begins in the future", hint="compare the clocks")
    if now >= expires:
        _refuse("expired", "the access token has expired", hint="fetch a fresh one from the provider")


def _refuse(code: str, detail: str, *, hint: str | None = None) -> NoReturn:
    raise TokenError(detail, code=f"oidc.{code}", hint=hint) from None
