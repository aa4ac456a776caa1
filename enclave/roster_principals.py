"""Whose word a roster lets count beside its operators': OIDC issuers with pinned keys, and groups of approvers.

Rules kept (specs/roster.md section 2.1): an issuer's keys are in the roster itself, so nobody's web server can add
one; only public, asymmetric keys of fixed algorithms; each issuer, group, approver and key is named once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from attestation.envelope import b64url, b64url_decode
from attestation.errors import DocumentError
from enclave.fields import Fields
from enclave.signing_key import PublicKey

ISSUERS_MAX = 16
"""Most OIDC issuers."""

AUDIENCES_MAX = 16
"""Most audiences of one issuer."""

JWKS_MAX = 16
"""Most keys of one issuer: providers publish two to five."""

RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192
"""Accepted RSA moduli (NIST SP 800-131A, and a bound on the work of one verification)."""

GROUPS_MAX = 32
"""Most approver groups."""

APPROVERS_MAX = 64
"""Most approvers of one group."""

_URL_CHARACTERS_MAX = 256
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

JWK_MEMBERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "RS256": ("RSA", ("n", "e")),
    "PS256": ("RSA", ("n", "e")),
    "ES256": ("EC", ("crv", "x", "y")),
    "EdDSA": ("OKP", ("crv", "x")),
}
"""Accepted JWS algorithm -> key type and key members (RFC 7518 section 6, RFC 8037 section 2)."""

_CURVES = {"ES256": "P-256", "EdDSA": "Ed25519"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcIssuer:
    """An identity provider whose ID tokens may name principals."""

    issuer: str
    """The `iss` of its tokens, compared as text: `https://...`; in development also `http://` of this machine."""
    audiences: tuple[str, ...]
    """Accepted `aud` values, at least one."""
    keys: tuple[Mapping[str, str], ...]
    """Pinned public JWKs: `kid`, `alg`, `kty` and the key's own members, all text."""

    @property
    def is_local(self) -> bool:
        """Whether its URL is not `https`, which only development allows."""
        return not self.issuer.startswith("https://")

    def key(self, kid: str) -> Mapping[str, str] | None:
        """The pinned key with that key id, or None."""
        return next((key for key in self.keys if key["kid"] == kid), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """A person who approves requests that a policy sends to people."""

    approver: str
    """Name within the cluster."""
    key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproverGroup:
    """People a policy may ask; how many of them are needed is the policy's to say."""

    group: str
    members: tuple[Approver, ...]

    def key(self, kid: str) -> PublicKey | None:
        """The member key with that key id, or None."""
        return next((member.key for member in self.members if member.key.kid == kid), None)


def read_oidc(fields: Fields) -> tuple[OidcIssuer, ...]:
    """The optional member `oidc`; raises the reader's error."""
    if "oidc" not in fields:
        return ()
    issuers = tuple(_read_issuer(item) for item in fields.each("oidc", low=1, high=ISSUERS_MAX))
    if len({issuer.issuer for issuer in issuers}) != len(issuers):
        fields.refuse("expected each issuer once", "oidc")
    return issuers


def oidc_payload(issuers: tuple[OidcIssuer, ...]) -> list[dict[str, Any]]:
    """The JSON form of `oidc`."""
    return [
        {
            "issuer": issuer.issuer,
            "audiences": list(issuer.audiences),
            "jwks": {"keys": [dict(key) for key in issuer.keys]},
        }
        for issuer in issuers
    ]


def read_approvers(fields: Fields) -> tuple[ApproverGroup, ...]:
    """The optional member `approvers`; raises the reader's error."""
    if "approvers" not in fields:
        return ()
    groups = tuple(_read_group(item) for item in fields.each("approvers", low=1, high=GROUPS_MAX))
    if len({group.group for group in groups}) != len(groups):
        fields.refuse("expected each group once", "approvers")
    return groups


def approvers_payload(groups: tuple[ApproverGroup, ...]) -> list[dict[str, Any]]:
    """The JSON form of `approvers`."""
    return [
        {
            "group": group.group,
            "members": [
                {"approver": member.approver, "alg": member.key.algorithm, "key": b64url(member.key.key)}
                for member in group.members
            ],
        }
        for group in groups
    ]


def _read_issuer(fields: Fields) -> OidcIssuer:
    issuer = fields.text("issuer", characters_max=_URL_CHARACTERS_MAX)
    parts = urlsplit(issuer)
    local = parts.scheme == "http" and parts.netloc.rpartition(":")[0] in _LOOPBACK
    if not (parts.scheme == "https" or local) or not parts.netloc or parts.query or parts.fragment or "@" in issuer:
        fields.refuse("expected an https URL without query, fragment and user", "issuer")
    audiences = fields.texts("audiences", low=1, high=AUDIENCES_MAX)
    jwks = fields.fields("jwks")
    keys = tuple(_read_jwk(item) for item in jwks.each("keys", low=1, high=JWKS_MAX))
    jwks.done()
    if len({key["kid"] for key in keys}) != len(keys):
        fields.refuse("expected each key id once", "jwks")
    return OidcIssuer(issuer=issuer, audiences=audiences, keys=keys)


def _read_jwk(fields: Fields) -> dict[str, str]:
    algorithm = fields.choice("alg", tuple(JWK_MEMBERS))
    kind, members = JWK_MEMBERS[algorithm]
    key = {"kid": fields.text("kid"), "alg": algorithm, "kty": fields.choice("kty", (kind,))}
    if "use" in fields:
        key["use"] = fields.choice("use", ("sig",))
    for member in members:
        key[member] = fields.text(member, characters_max=RSA_BITS_MAX // 4)
    if algorithm in _CURVES and key["crv"] != _CURVES[algorithm]:
        fields.refuse(f"expected curve {_CURVES[algorithm]}", "crv")
    try:
        parts = {name: b64url_decode(key[name]) for name in members if name != "crv"}
        _check_key(algorithm, parts)
    except DocumentError as error:
        fields.refuse(error.detail)
    return key


def _check_key(algorithm: str, parts: Mapping[str, bytes]) -> None:
    """Raises DocumentError unless the key is one that can be verified with safely."""
    if algorithm == "EdDSA":
        PublicKey.parse("EdDSA", parts["x"])
    elif algorithm == "ES256":
        x, y = parts["x"], parts["y"]
        if len(x) != 32 or len(y) != 32:
            raise DocumentError("expected coordinates of 32 bytes", code="document.key")
        compressed = bytes([2 + (y[-1] & 1)]) + x
        PublicKey.parse("ES256", compressed)
        _check_on_p256(x, y)
    else:
        modulus, exponent = int.from_bytes(parts["n"], "big"), int.from_bytes(parts["e"], "big")
        if not RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX or not modulus & 1:
            raise DocumentError(
                f"expected an RSA modulus of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits", code="document.key"
            )
        if exponent != 65537:
            raise DocumentError("expected the RSA exponent 65537", code="document.key")


def _check_on_p256(x: bytes, y: bytes) -> None:
    """The y that was given is the one of the curve: y^2 = x^3 - 3x + b (FIPS 186-4, D.1.2.3); public values."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    u, v = int.from_bytes(x, "big"), int.from_bytes(y, "big")
    if u >= p or v >= p or (v * v - (u * u * u - 3 * u + b)) % p:
        raise DocumentError("expected a point of P-256", code="document.key")


def _read_group(fields: Fields) -> ApproverGroup:
    name = fields.label("group")
    members = tuple(_read_approver(item) for item in fields.each("members", low=1, high=APPROVERS_MAX))
    if len({member.approver for member in members}) != len(members):
        fields.refuse("expected each approver once", "members")
    if len({member.key.key for member in members}) != len(members):
        fields.refuse("expected each approver with a key of its own", "members")
    return ApproverGroup(group=name, members=members)


def _read_approver(fields: Fields) -> Approver:
    approver = fields.label("approver")
    algorithm = fields.take("alg")
    try:
        key = PublicKey.parse(algorithm, fields.base64("key", size_max=33))
    except DocumentError as error:
        fields.refuse(error.detail, "key")
    return Approver(approver=approver, key=key)
