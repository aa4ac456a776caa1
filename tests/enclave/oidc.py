"""A local identity provider's keys and access tokens, made with a library that the code under test does not use."""

from __future__ import annotations

import json
import warnings
from typing import Any

from joserfc import jwk, jws
from joserfc.errors import SecurityWarning

ISSUER = "http://127.0.0.1:9"
AUDIENCE = "holdfast"
SUBJECT = "workload/shopper"
NOW = 1_790_000_000

KINDS: dict[str, tuple[str, Any]] = {
    "RS256": ("RSA", 2048),
    "PS256": ("RSA", 2048),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}


class Provider:
    """One signing key under one algorithm."""

    def __init__(self, algorithm: str = "ES256", *, issuer: str = ISSUER, kid: str = "one") -> None:
        kind, size = KINDS[algorithm]
        self.algorithm, self.issuer, self.kid = algorithm, issuer, kid
        self.key = jwk.generate_key(kind, size)

    def roster_entry(self, *, audiences: tuple[str, ...] = (AUDIENCE,)) -> dict[str, Any]:
        """As a roster pins it."""
        public = self.key.as_dict(private=False)
        names = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}[public["kty"]]
        jwk = {name: public[name] for name in names} | {"kid": self.kid, "alg": self.algorithm}
        return {"issuer": self.issuer, "audiences": list(audiences), "jwks": {"keys": [jwk]}}

    def access_token(self, jkt: str, *, now: int = NOW, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A token for the key with that thumbprint; a claim set to None is left out."""
        claims = {
            "iss": self.issuer,
            "sub": SUBJECT,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 300,
            "client_id": "shopper",
            "cnf": {"jkt": jkt},
        } | changes
        kept = {name: value for name, value in claims.items() if value is not None}
        shown = {"alg": self.algorithm, "typ": "at+jwt", "kid": self.kid} | (header or {})
        registry = jws.JWSRegistry(algorithms=[self.algorithm], strict_check_header=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA has newer names; providers write the old one
            return jws.serialize_compact(shown, json.dumps(kept).encode(), self.key, registry=registry)
