"""Field readers shared by Intel's two signed JSON documents (TCB info, enclave identity).

Rule: values come out with their exact type and length or the document is refused; members
not read here are left alone, because the signature covers them and Intel may add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attestation.canonical import parse_json
from attestation.errors import CollateralError, DocumentError
from attestation.evidence import TcbStatus
from attestation.instant import parse_instant
from attestation.limits import ADVISORIES_MAX, SIGNED_JSON_BYTES_MAX, TCB_LEVELS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What Intel says about one level: status text as published, date (Unix seconds), advisories."""

    status: str
    date: int
    advisories: tuple[str, ...]

    def known_status(self) -> TcbStatus:
        """The status; raises CollateralError (`collateral.tcb-status`) for a word this version does not know."""
        # Only the statuses Intel publishes: a document may not claim what only evaluation concludes.
        if self.status not in _PUBLISHED:
            raise CollateralError(f"unknown TCB status {self.status[:40]!r}", code="collateral.tcb-status")
        return TcbStatus(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class SvnLevel:
    """One level of an enclave or module identity: at least this ISVSVN earns this rating."""

    isvsvn: int
    rating: Rating


def parse_document(body: bytes) -> Mapping[str, Any]:
    """The JSON object in exactly the signed bytes; raises CollateralError."""
    try:
        value = parse_json(body, bytes_max=SIGNED_JSON_BYTES_MAX)
    except DocumentError as error:
        raise CollateralError(error.detail, code="collateral.malformed") from None
    if not isinstance(value, dict):
        raise malformed("expected a JSON object")
    return value


def member(value: Any, name: str) -> Any:
    """A member of a JSON object that must be there."""
    if not isinstance(value, dict) or name not in value:
        raise malformed(f"expected the member {name!r}")
    return value[name]


def integer(value: Any, name: str, *, maximum: int) -> int:
    """A non-negative integer member."""
    number = member(value, name)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= maximum:
        raise malformed(f"expected {name!r} as an integer up to {maximum}")
    return number


def text(value: Any, name: str) -> str:
    """A short text member."""
    found = member(value, name)
    if not isinstance(found, str) or len(found) > 128:
        raise malformed(f"expected {name!r} as short text")
    return found


def hexadecimal(value: Any, name: str, length: int) -> bytes:
    """A hex member of exactly `length` bytes, either case."""
    found = text(value, name)
    try:
        data = bytes.fromhex(found)
    except ValueError:
        data = b""
    if len(data) != length or len(found) != 2 * length:
        raise malformed(f"expected {name!r} as {length} bytes of hex")
    return data


def instant(value: Any, name: str) -> int:
    """An RFC 3339 member as Unix seconds."""
    seconds = parse_instant(text(value, name))
    if seconds is None:
        raise malformed(f"expected {name!r} as an RFC 3339 time")
    return seconds


def items(value: Any, name: str, maximum: int) -> list[Any]:
    """A list member of at most `maximum` items."""
    found = member(value, name)
    if not isinstance(found, list) or len(found) > maximum:
        raise malformed(f"expected {name!r} as a list of at most {maximum}")
    return found


def rating(value: Any) -> Rating:
    """`tcbStatus`, `tcbDate` and the optional `advisoryIDs` of a level."""
    listed = items(value, "advisoryIDs", ADVISORIES_MAX) if "advisoryIDs" in value else []
    if not all(isinstance(item, str) and len(item) <= 64 for item in listed):
        raise malformed("expected advisory ids as short text")
    return Rating(status=text(value, "tcbStatus"), date=instant(value, "tcbDate"), advisories=tuple(listed))


def svn_levels(value: Any) -> tuple[SvnLevel, ...]:
    """`tcbLevels` of an identity, highest ISVSVN first whatever the order in the document."""
    levels = [
        SvnLevel(isvsvn=integer(member(item, "tcb"), "isvsvn", maximum=0xFFFF), rating=rating(item))
        for item in items(value, "tcbLevels", TCB_LEVELS_MAX)
    ]
    return tuple(sorted(levels, key=lambda level: -level.isvsvn))


def first_reached(levels: tuple[SvnLevel, ...], isvsvn: int) -> SvnLevel | None:
    """The highest level that `isvsvn` satisfies."""
    return next((level for level in levels if isvsvn >= level.isvsvn), None)


def malformed(detail: str) -> CollateralError:
    """The error every reader here raises."""
    return CollateralError(detail, code="collateral.malformed")


_PUBLISHED = frozenset(
    {
        "UpToDate",
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
        "Revoked",
    }
)
