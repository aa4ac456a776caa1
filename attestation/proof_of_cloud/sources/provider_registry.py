"""A cloud provider's own registry of PPIDs: unsigned JSON over TLS, so what we keep is the archived answer.

The statement says that the provider's server gave these bytes at this time to whoever archived them. Nothing
later can check that, which the note `unsigned` says; the digest ties the statement to the archive.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from attestation.canonical import parse_json
from attestation.errors import DocumentError, StatementError
from attestation.proof_of_cloud.platform_id import INTEL_PPID, PlatformId
from attestation.proof_of_cloud.statement import Method, Source, Statement

UNSIGNED = "unsigned"

ANSWER_BYTES_MAX = 8 << 20
"""A list of every PPID of a large region stays below this."""

ANSWER_LIFETIME_S = 30 * 86_400
"""How long an archived answer counts: machines move in and out of service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedAnswer:
    """One HTTPS answer as fetched: exact body, the host it came from, when, and for which region it was asked."""

    body: bytes
    host: str
    provider: str
    fetched_at: int
    """Unix seconds."""
    region: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over host, time and body: what the statement names as its evidence."""
        head = f"{self.host}\n{self.fetched_at}\n".encode()
        return hashlib.sha256(head + self.body).hexdigest()


def provider_statement(answer: ArchivedAnswer, *, platform_id: PlatformId, now: int) -> Statement:
    """The provider lists this PPID.

    The body is a JSON object or list that holds the PPID as a whole string value (any letter case), alone or as the
    member `ppid`. Raises StatementError (`proof-of-cloud.not-listed`, `.malformed`).
    """
    if platform_id.kind != INTEL_PPID:
        raise StatementError("a PPID registry speaks of intel:ppid only", code="proof-of-cloud.not-listed")
    if answer.fetched_at > now + 300:
        raise StatementError("the archived answer is dated in the future")
    try:
        value = parse_json(answer.body, bytes_max=ANSWER_BYTES_MAX, depth_max=8)
    except DocumentError as error:
        raise StatementError(f"the provider's answer is not strict JSON: {error.detail}") from None
    if not _lists(value, platform_id.value.hex()):
        raise StatementError("the provider does not list this machine", code="proof-of-cloud.not-listed")
    return Statement(
        commitment=platform_id.commitment,
        source=Source.PROVIDER_REGISTRY,
        issuer=answer.host,
        method=Method.PROVIDER_STATEMENT,
        level=1,
        issued_at=answer.fetched_at,
        expires_at=answer.fetched_at + ANSWER_LIFETIME_S,
        provider=answer.provider,
        region=answer.region,
        evidence=(answer.digest,),
        notes=(UNSIGNED,),
    )


def _lists(value: Any, ppid: str) -> bool:
    """Whether `value` is the PPID, or a list or object with it in a place where PPIDs stand."""
    match value:
        case str():
            return value.lower() == ppid
        case list():
            return any(_lists(item, ppid) for item in value)
        case {"ppid": str(text)}:
            return text.lower() == ppid
        case {"ppids": list(items)}:
            return _lists(items, ppid)
    return False
