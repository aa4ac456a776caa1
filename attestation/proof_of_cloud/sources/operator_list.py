"""An operator's own signed list of its machines: level 0, because nobody else says so.

The list is an envelope (attestation.envelope) of type `application/vnd.holdfast.platform-list+json` with payload
`{"type": "holdfast/platform-list/v1", "operator", "issued_at", "expires_at",
  "platforms": [{"platform": text form or commitment in hex, "provider", "region"}]}`.
"""

from __future__ import annotations

from typing import Any

from attestation.envelope import Envelope
from attestation.errors import DocumentError, StatementError
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.statement import Method, Source, Statement, is_digest

PAYLOAD_TYPE = "application/vnd.holdfast.platform-list+json"
DOCUMENT_TYPE = "holdfast/platform-list/v1"
PLATFORMS_MAX = 1000
"""Machines in one list; a larger fleet signs several."""


def operator_statements(envelope: bytes, *, operator_key: bytes) -> tuple[Statement, ...]:
    """One statement per listed machine; raises StatementError (`proof-of-cloud.signatures`, `.malformed`)."""
    try:
        value = Envelope.parse(envelope).open(PAYLOAD_TYPE, [operator_key], threshold=1)
    except DocumentError as error:
        code = "signatures" if error.code == "envelope.signatures" else "malformed"
        raise StatementError(f"a platform list: {error.detail}", code=f"proof-of-cloud.{code}") from None
    expected = {"type", "operator", "issued_at", "expires_at", "platforms"}
    if set(value) != expected or value["type"] != DOCUMENT_TYPE:
        raise StatementError(f"expected exactly {sorted(expected)} in a platform list")
    platforms = value["platforms"]
    if not isinstance(platforms, list) or len(platforms) > PLATFORMS_MAX:
        raise StatementError(f"expected at most {PLATFORMS_MAX} machines in a platform list")
    if not isinstance(value["operator"], str) or not _is_time(value["issued_at"]) or not _is_time(value["expires_at"]):
        raise StatementError("expected an operator and times in a platform list")
    return tuple(_statement(item, value) for item in platforms)


def _statement(item: Any, value: dict[str, Any]) -> Statement:
    if not isinstance(item, dict) or set(item) != {"platform", "provider", "region"}:
        raise StatementError("expected exactly platform, provider and region of a listed machine")
    if not all(isinstance(text, str) for text in item.values()):
        raise StatementError("expected texts for a listed machine")
    text = item["platform"]
    commitment = bytes.fromhex(text) if is_digest(text) else PlatformId.parse(text).commitment
    return Statement(
        commitment=commitment,
        source=Source.OPERATOR_LIST,
        issuer=value["operator"],
        method=Method.OPERATOR_LIST,
        level=0,
        issued_at=value["issued_at"],
        expires_at=value["expires_at"],
        provider=item["provider"],
        region=item["region"],
    )


def _is_time(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
