"""Strict JSON in, canonical JSON out: what is signed is exactly what is parsed.

Rules: UTF-8, no duplicate keys, no floats, no NaN, integers within +-(2^53 - 1), bounded
size and depth.  Output follows RFC 8785 (JCS) for this subset: keys sorted by UTF-16 code
units, no white space, minimal escapes.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from attestation.errors import DocumentError

JSON_BYTES_MAX = 1 << 20
"""Default size limit of one document in bytes: far above any real one, small enough to parse in milliseconds."""

JSON_DEPTH_MAX = 32
"""Deepest nesting accepted; real documents stay below 10."""

INTEGER_MAX = (1 << 53) - 1
"""Largest integer every JSON implementation represents exactly (RFC 8259 section 6)."""


def parse_json(data: bytes, *, bytes_max: int = JSON_BYTES_MAX, depth_max: int = JSON_DEPTH_MAX) -> Any:
    """Parse UTF-8 JSON strictly; returns dict, list, str, int, bool or None.

    Raises DocumentError with code `json.too-large`, `json.too-deep`, `json.duplicate-key`,
    `json.number` or `json.malformed`.
    """
    if len(data) > bytes_max:
        raise DocumentError(f"expected at most {bytes_max} bytes of JSON, found {len(data)}", code="json.too-large")
    check_depth(data, depth_max)
    try:
        text = data.decode("utf-8", "strict")
        value = _DECODER.decode(text)
    except DocumentError:
        raise
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise DocumentError("expected one well-formed UTF-8 JSON value", code="json.malformed") from None
    _refuse_lone_surrogates(text)
    return value


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 bytes of `value` (dict with str keys, list, str, int, bool, None only).

    Raises DocumentError if the value holds anything else or an integer beyond 2^53 - 1.
    """
    try:
        return _encode(value, 0).encode("utf-8", "strict")
    except UnicodeEncodeError:
        raise DocumentError("a string holds a lone surrogate", code="json.malformed") from None


def _encode(value: Any, depth: int) -> str:
    if depth > JSON_DEPTH_MAX:
        raise DocumentError("nested too deeply", code="json.too-deep")
    if value is None or value is True or value is False or isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise DocumentError("integer beyond 2^53 - 1; write it as a decimal string", code="json.number")
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(_encode(item, depth + 1) for item in value) + "]"
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        items = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be", "surrogatepass"))
        members = (json.dumps(key, ensure_ascii=False) + ":" + _encode(item, depth + 1) for key, item in items)
        return "{" + ",".join(members) + "}"
    raise DocumentError(f"cannot write a {type(value).__name__} as JSON", code="json.malformed")


def check_depth(data: bytes, depth_max: int) -> None:
    """Refuse deep nesting before a recursive parser sees it; raises DocumentError (`json.too-deep`).

    Needed however low the interpreter's recursion limit is: libraries raise it, and then the C parser overflows its
    stack.
    """
    if data.count(b"[") + data.count(b"{") <= depth_max:
        return
    depth = 0
    for token in _STRUCTURE.finditer(data):
        first = token[0]
        if first in (b"[", b"{"):
            depth += 1
            if depth > depth_max:
                raise DocumentError(f"nested deeper than {depth_max}", code="json.too-deep")
        elif first in (b"]", b"}"):
            depth -= 1


def _refuse_lone_surrogates(text: str) -> None:
    # Only an escaped surrogate can get here: UTF-8 decoding already refused raw ones.
    if "\\u" in text or "\\U" in text:
        try:
            json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "strict")
        except UnicodeEncodeError:
            raise DocumentError("a string holds a lone surrogate", code="json.malformed") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DocumentError("an object repeats a key", code="json.duplicate-key")
    return members


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > INTEGER_MAX:
        raise DocumentError("integer beyond 2^53 - 1; write it as a decimal string", code="json.number")
    return int(text)


def _refuse_number(text: str) -> NoReturn:
    raise DocumentError(
        f"expected an integer, found {text[:24]!r}", code="json.number", hint="write fractions as strings"
    )


_STRUCTURE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
"""Brackets, and whole strings (an open one reaches to the end) so that brackets inside them do not count."""

_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_refuse_number, parse_constant=_refuse_number
)
