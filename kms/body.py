"""Request bodies: strict JSON into typed values.

Refused with a code: duplicate members, unknown members, floats, integers beyond 2^53, deep nesting, more
than 1 MiB, anything that is not UTF-8 JSON.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from attestation.canonical import parse_json
from attestation.errors import DocumentError
from kms.errors import RequestError

T = TypeVar("T")

BODY_BYTES_MAX = 1 << 20
"""Largest request body in bytes."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all request types."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answer types."""


def read_body(body: bytes, kind: type[T]) -> T:
    """The typed body; raises RequestError (`json.*`, `request.malformed`)."""
    if not body:
        raise RequestError("expected a JSON body, found none")
    try:
        value = parse_json(body, bytes_max=BODY_BYTES_MAX)
    except DocumentError as error:
        raise RequestError(error.detail, code=error.code, hint=error.hint) from None
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # msgspec names types, members and places, never values.
        raise RequestError(str(error)[:200]) from None
