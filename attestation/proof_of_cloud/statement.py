"""A statement: what one source says about where one platform stands.

Rules: a level is never above what its method proves; a field the source does not state is empty;
outside its interval a statement counts for nothing.  Specification: specs/proof-of-cloud.md sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from attestation.errors import StatementError


class Source(StrEnum):
    """The kind of source a statement comes from."""

    REGISTRY = "registry"
    ALLIANCE = "alliance"
    PROVIDER_REGISTRY = "provider-registry"
    PROVIDER_BINDING = "provider-binding"
    OPERATOR_LIST = "operator-list"


class Method(StrEnum):
    """How the source came to know."""

    OPERATOR_LIST = "operator-list"
    PROVIDER_STATEMENT = "provider-statement"
    PROVIDER_BINDING = "provider-binding"
    ALLIANCE_MEMBERSHIP = "alliance-membership"
    WITNESS = "witness"
    PHYSICAL_AUDIT = "physical-audit"


LEVEL_MAX: Mapping[Method, int] = {
    Method.OPERATOR_LIST: 0,
    Method.PROVIDER_STATEMENT: 1,
    Method.PROVIDER_BINDING: 1,
    Method.ALLIANCE_MEMBERSHIP: 1,
    Method.WITNESS: 2,
    Method.PHYSICAL_AUDIT: 3,
}
"""The highest level each method can prove: 0 asserted, 1 stated, 2 witnessed, 3 audited."""

EVIDENCE_MAX = 16
"""More digests than any statement needs; bounds one entry."""

TEXT_CHARACTERS_MAX = 128
"""Longest provider, region, facility, issuer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One source's claim about one platform.

    Raises StatementError (`proof-of-cloud.malformed`; `proof-of-cloud.level` for a level its method cannot prove).
    """

    commitment: bytes
    """32 bytes, `PlatformId.commitment`."""
    source: Source
    issuer: str
    method: Method
    level: int
    issued_at: int
    expires_at: int
    provider: str = ""
    region: str = ""
    facility: str = ""
    evidence: tuple[str, ...] = ()
    """SHA-256 digests (hex) of archived material."""
    sequence: int | None = None
    """Entry number in the registry, `None` elsewhere."""
    notes: tuple[str, ...] = ()
    """What a reader must know: `unstable-id`, `no-time`, `unsigned` ..."""

    def __post_init__(self) -> None:
        if len(self.commitment) != 32:
            raise StatementError(f"expected a commitment of 32 bytes, found {len(self.commitment)}")
        if not 0 <= self.level <= 3:
            raise StatementError(f"expected a level from 0 to 3, found {self.level}", code="proof-of-cloud.level")
        if self.level > LEVEL_MAX[self.method]:
            raise StatementError(
                f"method {self.method} proves at most level {LEVEL_MAX[self.method]}, found {self.level}",
                code="proof-of-cloud.level",
            )
        if self.level >= 2 and not self.evidence:
            raise StatementError(f"level {self.level} needs evidence digests", code="proof-of-cloud.level")
        if not 0 <= self.issued_at < self.expires_at:
            raise StatementError("expected a statement that expires after it is issued")
        check_text(self.issuer, "issuer")
        for name in ("provider", "region", "facility"):
            check_text(getattr(self, name), name, may_be_empty=True)
        check_evidence(self.evidence)

    def in_force(self, now: int) -> bool:
        """Whether `now` (Unix seconds) lies in the statement's interval."""
        return self.issued_at <= now < self.expires_at

    def to_json(self) -> dict[str, Any]:
        """The facts as a JSON object, bytes in lower-case hex."""
        return {
            "commitment": self.commitment.hex(),
            "source": str(self.source),
            "issuer": self.issuer,
            "method": str(self.method),
            "level": self.level,
            "issued_at": self.issued_at,
            "expires_at": self.expires_at,
            "provider": self.provider,
            "region": self.region,
            "facility": self.facility,
            "evidence": list(self.evidence),
            "sequence": self.sequence,
            "notes": list(self.notes),
        }


def check_text(text: str, name: str, *, may_be_empty: bool = False) -> str:
    """`text` if it is short and printable; raises StatementError naming the member."""
    if (not text and not may_be_empty) or len(text) > TEXT_CHARACTERS_MAX or not text.isprintable():
        raise StatementError(f"expected {name} of 1 to {TEXT_CHARACTERS_MAX} printable characters")
    return text


def check_evidence(digests: tuple[str, ...]) -> None:
    """Raises StatementError unless `digests` are distinct SHA-256 digests in lower-case hex, at most 16."""
    if len(digests) > EVIDENCE_MAX or len(set(digests)) != len(digests):
        raise StatementError(f"expected at most {EVIDENCE_MAX} distinct evidence digests")
    for digest in digests:
        if not is_digest(digest):
            raise StatementError("expected evidence digests of 64 lower-case hex digits")


def is_digest(text: Any) -> bool:
    """Whether `text` is 64 lower-case hex digits."""
    return isinstance(text, str) and len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
