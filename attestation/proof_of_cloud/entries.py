"""The lines of the registry log: five kinds of entry, each one line of canonical JSON.

Rules: exactly the members of its kind, nothing else; the first member is the commitment, so all lines
about one platform start alike; the freshness key may add only the kinds in `RESTRICTIONS`.
Specification: specs/proof-of-cloud.md section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from attestation.canonical import canonical_json, parse_json
from attestation.errors import DocumentError, StatementError
from attestation.proof_of_cloud.statement import LEVEL_MAX, Method, Source, Statement, check_text, is_digest

LINE_BYTES_MAX = 4096
"""Longest entry; a statement with one evidence digest has about 350 bytes."""

WHOLE_REGISTRY = "*"
"""Stands where a commitment stands, in entries about the registry itself."""

REASON_CHARACTERS_MAX = 256
LIFTS_MAX = 64


class Kind(StrEnum):
    """What an entry does."""

    STATEMENT = "statement"
    ENDORSEMENT = "endorsement"
    REVOCATION = "revocation"
    FREEZE = "freeze"
    REINSTATEMENT = "reinstatement"


RESTRICTIONS = frozenset({Kind.REVOCATION, Kind.FREEZE})
"""The only kinds that count on the online freshness key alone."""

_COMMON = frozenset({"commitment", "issued_at", "issuer", "kind"})
_MEMBERS = {
    Kind.STATEMENT: _COMMON | {"evidence", "expires_at", "facility", "level", "method", "provider", "region"},
    Kind.ENDORSEMENT: _COMMON | {"evidence", "expires_at", "level", "method"},
    Kind.REVOCATION: _COMMON | {"reason"},
    Kind.FREEZE: _COMMON | {"reason"},
    Kind.REINSTATEMENT: _COMMON | {"lifts", "reason"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line, checked: `value` holds exactly the members its kind has."""

    kind: Kind
    commitment: str
    """64 hex digits, or `*`."""
    issuer: str
    issued_at: int
    value: dict[str, Any]

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read one line strictly; raises StatementError (`proof-of-cloud.malformed`)."""
        try:
            value = parse_json(line, bytes_max=LINE_BYTES_MAX, depth_max=2)
            canonical = canonical_json(value)
        except DocumentError as error:
            raise StatementError(f"a registry line is not strict JSON: {error.detail}") from None
        if canonical != line:
            raise StatementError("a registry line is not canonical JSON")
        return cls.of(value)

    @classmethod
    def of(cls, value: Any) -> Self:
        """Check a JSON object; raises StatementError (`proof-of-cloud.malformed` or `.level`)."""
        if not isinstance(value, dict) or value.get("kind") not in _KINDS:
            raise StatementError("expected a registry entry of a known kind")
        kind = Kind(value["kind"])
        if set(value) != _MEMBERS[kind]:
            raise StatementError(f"expected exactly {sorted(_MEMBERS[kind])} in a {kind}")
        commitment, issuer, issued_at = value["commitment"], value["issuer"], value["issued_at"]
        if not is_digest(commitment) and not (commitment == WHOLE_REGISTRY and kind in _ABOUT_THE_WHOLE):
            raise StatementError(f"expected a commitment of 64 hex digits in a {kind}")
        if not isinstance(issuer, str) or not _is_time(issued_at):
            raise StatementError("expected an issuer and a time in Unix seconds")
        check_text(issuer, "issuer")
        entry = cls(kind=kind, commitment=commitment, issuer=issuer, issued_at=issued_at, value=dict(value))
        entry._check_members()
        return entry

    @property
    def line(self) -> bytes:
        """The canonical JSON line, without a newline: what is hashed."""
        return canonical_json(self.value)

    def statement(self, sequence: int) -> Statement:
        """A `statement` or `endorsement` entry as the common type; raises StatementError."""
        value = self.value
        return Statement(
            commitment=bytes.fromhex(self.commitment),
            source=Source.REGISTRY,
            issuer=self.issuer,
            method=Method(value["method"]),
            level=value["level"],
            issued_at=self.issued_at,
            expires_at=value["expires_at"],
            provider=value.get("provider", ""),
            region=value.get("region", ""),
            facility=value.get("facility", ""),
            evidence=tuple(value["evidence"]),
            sequence=sequence,
        )

    def _check_members(self) -> None:
        value = self.value
        match self.kind:
            case Kind.STATEMENT | Kind.ENDORSEMENT:
                self._check_statement()
            case Kind.REINSTATEMENT:
                lifts = value["lifts"]
                if not isinstance(lifts, list) or not 0 < len(lifts) <= LIFTS_MAX:
                    raise StatementError(f"expected 1 to {LIFTS_MAX} entry numbers in a reinstatement")
                if not all(_is_time(number) for number in lifts) or len(set(lifts)) != len(lifts):
                    raise StatementError("expected distinct entry numbers in a reinstatement")
        if "reason" in value:
            reason = value["reason"]
            if not isinstance(reason, str) or not reason.isprintable() or not 0 < len(reason) <= REASON_CHARACTERS_MAX:
                raise StatementError(f"expected a reason of 1 to {REASON_CHARACTERS_MAX} printable characters")

    def _check_statement(self) -> None:
        value = self.value
        texts = [value[name] for name in ("provider", "region", "facility") if name in value]
        if not all(isinstance(text, str) for text in texts) or not _is_time(value["expires_at"]):
            raise StatementError("expected texts and a time in a statement")
        if not isinstance(value["evidence"], list) or not all(is_digest(item) for item in value["evidence"]):
            raise StatementError("expected a list of evidence digests")
        if value["method"] not in _METHODS or not _is_time(value["level"]):
            raise StatementError("expected a known method and a level")
        level = value["level"]
        if self.kind is Kind.STATEMENT and level > 1:
            raise StatementError(
                f"a statement proves at most level 1, found {level}",
                code="proof-of-cloud.level",
                hint="levels 2 and 3 come from an endorsement by a second party",
            )
        if self.kind is Kind.ENDORSEMENT and (level < 2 or LEVEL_MAX[Method(value["method"])] < 2):
            raise StatementError("an endorsement raises the level to 2 or 3", code="proof-of-cloud.level")
        self.statement(0)


_KINDS = frozenset(kind.value for kind in Kind)
_METHODS = frozenset(method.value for method in Method)
_ABOUT_THE_WHOLE = frozenset({Kind.FREEZE, Kind.REINSTATEMENT})


def line_prefix(commitment: str) -> bytes:
    """The first bytes of every line about `commitment`."""
    return b'{"commitment":"%b","' % commitment.encode()


def _is_time(value: Any) -> bool:
    """A non-negative integer; JSON true and false are not integers here."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
