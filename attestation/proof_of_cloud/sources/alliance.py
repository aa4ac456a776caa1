"""Membership tokens of the public proof-of-cloud alliance.

What a token says: its issuer recognised the machine behind one quote. It says nothing about level, TCB, audience
or freshness, so the quote is verified by us, the level is 1 at most, and what is missing is noted.

Both forms are compact JWTs over `quote_hash`, `machine_id`, `label`. RS256: one signer, with `iat` and no `exp`.
EdDSA: several members hold shares of one Ed25519 key and sign together; older tokens carry no time at all, newer
ones a `timestamp`. The machine id is a SHA-256 over the PPID (stable), over the whole SGX extension of the PCK
certificate (changes with TCB recovery), or over CHIP_ID (AMD); issuers publish it whole or as a prefix.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from attestation.canonical import parse_json
from attestation.envelope import b64url_decode
from attestation.errors import DocumentError, StatementError
from attestation.proof_of_cloud.platform_id import (
    AMD_CHIP_ID,
    AMD_CHIP_ID_FIELD_BYTES,
    INTEL_PPID,
    PlatformId,
)
from attestation.proof_of_cloud.statement import Method, Source, Statement

TOKEN_BYTES_MAX = 16_384
"""Real tokens have under 1 500 bytes."""

PREFIX_BYTES_MIN = 16
"""A published prefix shorter than 128 bits could be met by another machine, by chance or by search."""

RSA_BITS_MIN = 2048

UNSTABLE_ID = "unstable-id"
NO_TIME = "no-time"
MEMBERSHIP_ONLY = "membership-only"

TOKEN_LIFETIME_S = 7 * 86_400
"""How long we let a token count, from its `iat` or from when it was fetched: the issuer sets no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alliance:
    """The issuer's keys: an RSA key for RS256 tokens, a raw shared Ed25519 key for EdDSA tokens, or both."""

    issuer: str
    rsa_key: RSAPublicKey | None = None
    ed25519_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedQuote:
    """What we verified ourselves: the raw quote, its platform id, and the PCK's SGX extension (DER value) if Intel."""

    quote: bytes
    platform_id: PlatformId | None
    sgx_extension: bytes | None = None


def alliance_statement(
    token: bytes, *, alliance: Alliance, evidence: VerifiedQuote, fetched_at: int, now: int
) -> Statement:
    """Turn a membership token into a statement about the machine in `evidence`.

    `fetched_at` is when we got the token (Unix seconds). Raises StatementError: `proof-of-cloud.signatures` for a bad
    signature, `.not-listed` when it is about another quote or machine, `.malformed`.
    """
    if len(token) > TOKEN_BYTES_MAX:
        raise StatementError(f"expected a token of at most {TOKEN_BYTES_MAX} bytes, found {len(token)}")
    claims = _open(token, alliance)
    if not {"quote_hash", "machine_id"} <= set(claims):
        raise StatementError("expected quote_hash and machine_id in a membership token")
    if _hex(claims["quote_hash"], "quote_hash") != hashlib.sha256(evidence.quote).digest():
        raise StatementError("the token is about another quote", code="proof-of-cloud.not-listed")
    platform_id, derivation = _match(_hex(claims["machine_id"], "machine_id"), evidence)
    notes = [MEMBERSHIP_ONLY]
    if derivation == UNSTABLE_ID:
        notes.append(UNSTABLE_ID)
    issued_at = _issued_at(claims, now)
    if issued_at is None:
        notes.append(NO_TIME)
        issued_at = fetched_at
    label = claims.get("label", "")
    return Statement(
        commitment=platform_id.commitment,
        source=Source.ALLIANCE,
        issuer=alliance.issuer,
        method=Method.ALLIANCE_MEMBERSHIP,
        level=1,
        issued_at=issued_at,
        expires_at=issued_at + TOKEN_LIFETIME_S,
        facility=label if isinstance(label, str) else "",
        evidence=(hashlib.sha256(token).hexdigest(),),
        notes=tuple(notes),
    )


def machine_ids(evidence: VerifiedQuote) -> dict[str, bytes]:
    """Every machine id an alliance member may have computed for this evidence, by derivation."""
    found: dict[str, bytes] = {}
    platform_id = evidence.platform_id
    if platform_id is not None and platform_id.kind == INTEL_PPID:
        found["ppid"] = hashlib.sha256(platform_id.value).digest()
        if evidence.sgx_extension:
            found[UNSTABLE_ID] = hashlib.sha256(evidence.sgx_extension).digest()
    if platform_id is not None and platform_id.kind == AMD_CHIP_ID:
        # The 64-byte report field is hashed, also where only eight bytes of it mean anything.
        found["chipid"] = hashlib.sha256(platform_id.value.ljust(AMD_CHIP_ID_FIELD_BYTES, b"\x00")).digest()
    return found


def _match(published: bytes, evidence: VerifiedQuote) -> tuple[PlatformId, str]:
    if not PREFIX_BYTES_MIN <= len(published) <= 32:
        raise StatementError(
            f"expected a machine id of {PREFIX_BYTES_MIN} to 32 bytes, found {len(published)}",
            hint="a shorter prefix could be another machine's",
        )
    for derivation, full in machine_ids(evidence).items():
        if evidence.platform_id is not None and hmac.compare_digest(full[: len(published)], published):
            return evidence.platform_id, derivation
    raise StatementError("the token is about another machine", code="proof-of-cloud.not-listed")


def _open(token: bytes, alliance: Alliance) -> dict[str, Any]:
    """The claims of a token whose signature verifies."""
    parts = token.decode("ascii", "replace").strip().split(".")
    if len(parts) != 3:
        raise StatementError("expected a compact JWT of three parts")
    try:
        header, signature = _object(parts[0]), b64url_decode(parts[2])
        if "crit" in header:
            raise StatementError("a token asks for extensions that are not understood")
        _verify(header.get("alg"), alliance, signature, f"{parts[0]}.{parts[1]}".encode())
        return _object(parts[1])
    except DocumentError as error:
        raise StatementError(f"a membership token is malformed: {error.detail}") from None


def _verify(algorithm: Any, alliance: Alliance, signature: bytes, message: bytes) -> None:
    """The key we hold decides what is acceptable; the header only picks among our keys."""
    try:
        if algorithm == "RS256" and alliance.rsa_key is not None and alliance.rsa_key.key_size >= RSA_BITS_MIN:
            alliance.rsa_key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        elif algorithm == "EdDSA" and alliance.ed25519_key is not None:
            Ed25519PublicKey.from_public_bytes(alliance.ed25519_key).verify(signature, message)
        else:
            raise StatementError("no key of this issuer fits the token's algorithm", code="proof-of-cloud.signatures")
    except (InvalidSignature, ValueError):
        raise StatementError("the token's signature does not verify", code="proof-of-cloud.signatures") from None


def _object(encoded: Any) -> dict[str, Any]:
    value = parse_json(b64url_decode(encoded), bytes_max=TOKEN_BYTES_MAX, depth_max=4)
    if not isinstance(value, dict):
        raise StatementError("expected a JSON object in a token")
    return value


def _issued_at(claims: Mapping[str, Any], now: int) -> int | None:
    """The token's own time, or `None` when it carries none."""
    issued_at = claims.get("iat", claims.get("timestamp"))
    if issued_at is None:
        return None
    if not isinstance(issued_at, int) or isinstance(issued_at, bool) or not 0 <= issued_at <= now + 300:
        raise StatementError("expected a plausible time in a membership token")
    return issued_at


def _hex(value: Any, name: str) -> bytes:
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        raise StatementError(f"expected {name} in hex")
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise StatementError(f"expected {name} in hex") from None
