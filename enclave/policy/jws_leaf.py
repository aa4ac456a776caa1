"""Conditions on tokens: their type, exact values of claims, and how long they may live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from enclave.fields import Fields
from enclave.payload.jws import JwsClaims
from enclave.policy.checks import LIST_MAX, Check, listed

CLAIMS_MAX = 32
"""Most claims of one rule."""

LIFETIME_S_MAX = 366 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class JwsLeaf:
    """Conditions on a JWS; None means that the rule does not restrict it."""

    types: frozenset[str] | None = None
    claims: Mapping[str, frozenset[str]] | None = None
    """Claim -> allowed values; a claim named here must be there, as a string."""
    only: bool = False
    """Whether claims that the rule does not name are refused (the time claims aside)."""
    lifetime_s_max: int | None = None
    """Seconds from now to `exp`, which must then be there."""

    def checks(self, token: JwsClaims, now: int | None) -> Iterator[Check]:
        """Every condition of an allow rule."""
        if self.types is not None:
            yield listed("jws.types", token.type in self.types, "type", token.type)
        for name, allowed in (self.claims or {}).items():
            value = token.claims.get(name)
            # A list, as `aud` may be, could hide a second audience behind an allowed one.
            known = isinstance(value, str) and value in allowed
            yield Check(f"jws.claims.{name}", known, partial(_found, value))
        if self.only:
            named = {*(self.claims or {}), "exp", "nbf", "iat", "jti"}
            yield listed("jws.only", token.claims.keys() <= named, "set of claims", ", ".join(sorted(token.claims)))
        if self.lifetime_s_max is not None:
            expires = token.claims.get("exp")
            bounded = type(expires) is int and now is not None and expires - now <= self.lifetime_s_max
            yield Check("jws.lifetime_s_max", bounded, partial(_lifetime, expires, now, self.lifetime_s_max))


def read_jws_leaf(fields: Fields) -> JwsLeaf:
    """The `jws` member of a rule; raises the reader's error."""
    claims: dict[str, frozenset[str]] | None = None
    if "claims" in fields:
        raw = fields.peek("claims")
        if not isinstance(raw, dict) or not 1 <= len(raw) <= CLAIMS_MAX:
            fields.refuse(f"expected 1 to {CLAIMS_MAX} claims", "claims")
        named = fields.fields("claims")
        claims = {name: frozenset(named.texts(name, low=1, high=LIST_MAX)) for name in raw}
    leaf = JwsLeaf(
        types=frozenset(fields.texts("types", low=1, high=64)) if "types" in fields else None,
        claims=claims,
        only=fields.boolean("only", default=False),
        lifetime_s_max=fields.integer("lifetime_s_max", 1, LIFETIME_S_MAX) if "lifetime_s_max" in fields else None,
    )
    fields.done()
    return leaf


def _found(value: Any) -> str:
    return f"value {value}" if isinstance(value, str) else "missing, or no string"


def _lifetime(expires: Any, now: int | None, most: int) -> str:
    if type(expires) is not int or now is None:
        return "the token states no end"
    return f"ends in {expires - now} s, at most {most}"
