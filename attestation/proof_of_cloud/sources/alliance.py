"""Membership tokens of the public proof-of-cloud alliance.

What a token says: its issuer recognised the machine behind one quote. It says nothing about level, TCB, audience
or freshness, so the quote is verified by us, the level is 1 at most, and what is missing is noted.

Two forms exist. RS256: a compact JWT with `iat` and no `exp`. EdDSA: several members sign the same claims, and no
claim carries a time. The machine id is a SHA-256 over the PPID (stable), over the whole SGX extension of the PCK
certificate (changes with TCB recovery), or over CHIP_ID (AMD); issuers publish prefixes of it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
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
    """The issuer's keys: one RSA key for RS256 tokens, or named Ed25519 keys of which `threshold` must sign."""

    issuer: str
    rsa_key: RSAPublicKey | None = None
    members: tuple[bytes, ...] = ()
    threshold: int = 0


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

    `token` is a compact JWT, or JSON `{"payload": b64url, "signatures": [{"protected": b64url, "signature": b64url}]}`
    (JWS general form) for several signers; `fetched_at` is when we got it (Unix seconds). Raises StatementError:
    `.signatures` for a bad signature, `.not-listed` when it is about another quote or machine, `.malformed`.
    """
    if len(token) > TOKEN_BYTES_MAX:
        raise StatementError(f"expected a token of at most {TOKEN_BYTES_MAX} bytes, found {len(token)}")
    claims, timeless = _open(token, alliance)
    if not {"quote_hash", "machine_id"} <= set(claims):
        raise StatementError("expected quote_hash and machine_id in a membership token")
    if _hex(claims["quote_hash"], "quote_hash") != hashlib.sha256(evidence.quote).digest():
        raise StatementError("the token is about another quote", code="proof-of-cloud.not-listed")
    platform_id, derivation = _match(_hex(claims["machine_id"], "machine_id"), evidence)
    notes = [MEMBERSHIP_ONLY]
    if derivation == UNSTABLE_ID:
        notes.append(UNSTABLE_ID)
    issued_at = fetched_at
    if timeless:
        notes.append(NO_TIME)
    else:
        issued_at = _issued_at(claims, now)
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


def _open(token: bytes, alliance: Alliance) -> tuple[dict[str, Any], bool]:
    """The signed claims, and whether they are of the form that carries no time."""
    try:
        if token.lstrip()[:1] == b"{":
            return _open_several(parse_json(token, depth_max=4), alliance), True
        return _open_compact(token, alliance), False
    except DocumentError as error:
        raise StatementError(f"a membership token is malformed: {error.detail}") from None


def _open_compact(token: bytes, alliance: Alliance) -> dict[str, Any]:
    parts = token.decode("ascii", "replace").strip().split(".")
    if len(parts) != 3:
        raise StatementError("expected a compact JWT of three parts")
    _check_header(parts[0], "RS256")
    if alliance.rsa_key is None or alliance.rsa_key.key_size < RSA_BITS_MIN:
        raise StatementError("no RSA key of sufficient size is known for this issuer", code="proof-of-cloud.signatures")
    try:
        alliance.rsa_key.verify(
            b64url_decode(parts[2]), f"{parts[0]}.{parts[1]}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
    except InvalidSignature:
        raise StatementError("the token's signature does not verify", code="proof-of-cloud.signatures") from None
    return _object(parts[1])


def _open_several(value: Any, alliance: Alliance) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != {"payload", "signatures"} or not isinstance(value["payload"], str):
        raise StatementError("expected exactly payload and signatures in a token of several signers")
    listed = value["signatures"]
    if not isinstance(listed, list) or len(listed) > 64:
        raise StatementError("expected at most 64 signatures on a token")
    if alliance.threshold < 1 or alliance.threshold > len(alliance.members):
        raise StatementError("no members are known for this issuer", code="proof-of-cloud.signatures")
    signers: set[bytes] = set()
    for item in listed:
        signers |= _signers(item, value["payload"], alliance.members)
    if len(signers) < alliance.threshold:
        raise StatementError(
            f"expected {alliance.threshold} member signatures on the token, found {len(signers)}",
            code="proof-of-cloud.signatures",
        )
    return _object(value["payload"])


def _signers(item: Any, payload: str, members: Sequence[bytes]) -> set[bytes]:
    if not isinstance(item, dict) or set(item) != {"protected", "signature"}:
        raise StatementError("expected protected and signature in each signature of a token")
    protected = item["protected"]
    _check_header(protected, "EdDSA")
    signature, message = b64url_decode(item["signature"]), f"{protected}.{payload}".encode()
    return {member for member in members if _verifies(member, signature, message)}


def _verifies(member: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(member).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _check_header(encoded: Any, algorithm: str) -> None:
    header: Mapping[str, Any] = _object(encoded)
    # The algorithm is ours to choose: the header may only agree. Critical extensions are not understood.
    if header.get("alg") != algorithm or "crit" in header:
        raise StatementError(f"expected a token signed with {algorithm}", code="proof-of-cloud.signatures")


def _object(encoded: Any) -> dict[str, Any]:
    value = parse_json(b64url_decode(encoded), bytes_max=TOKEN_BYTES_MAX, depth_max=4)
    if not isinstance(value, dict):
        raise StatementError("expected a JSON object in a token")
    return value


def _issued_at(claims: Mapping[str, Any], now: int) -> int:
    issued_at = claims.get("iat")
    if not isinstance(issued_at, int) or isinstance(issued_at, bool) or not 0 <= issued_at <= now + 300:
        raise StatementError("expected a plausible iat in a membership token")
    return issued_at


def _hex(value: Any, name: str) -> bytes:
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        raise StatementError(f"expected {name} in hex")
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise StatementError(f"expected {name} in hex") from None
