"""Strict reading of JSON members: exactly those named, each of its form; everything else is `receipt.malformed`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from attestation.envelope import b64url_decode
from attestation.errors import DocumentError, ReceiptError

BLOB_BYTES_MAX = 16 << 20
"""Largest single document inside a receipt: a registry of 50 000 lines."""


def members(value: Any, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """`value` as an object with exactly these members."""
    if not isinstance(value, dict):
        raise ReceiptError("expected a JSON object")
    found = set(value)
    if missing := set(required) - found:
        raise ReceiptError(f"member {min(missing)} is absent")
    if unknown := found - set(required) - set(optional):
        raise ReceiptError(f"unknown member {min(unknown)[:40]!r}")
    return value


def items(value: Any, what: str, *, low: int = 0, high: int) -> list[Any]:
    """`value` as a list of `low` to `high` items."""
    if not isinstance(value, list) or not low <= len(value) <= high:
        raise ReceiptError(f"expected {low} to {high} items in {what}")
    return value


def integer(value: Any, what: str, low: int = 0) -> int:
    """`value` as an integer of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ReceiptError(f"expected an integer of at least {low} in {what}")
    return value


def words(value: Any, what: str, characters_max: int = 256) -> str:
    """`value` as a text of bounded length."""
    if not isinstance(value, str) or len(value) > characters_max:
        raise ReceiptError(f"expected a text of at most {characters_max} characters in {what}")
    return value


def blob(value: Any, what: str, *, size: int | None = None, size_max: int = BLOB_BYTES_MAX) -> bytes:
    """Bytes in base64url."""
    try:
        data = b64url_decode(value)
    except DocumentError as error:
        raise ReceiptError(f"{what}: {error.detail}") from None
    if len(data) > size_max or (size is not None and len(data) != size):
        raise ReceiptError(f"{what}: {len(data)} bytes do not have the expected size")
    return data


def hexadecimal(value: Any, what: str, size: int = 32) -> bytes:
    """Bytes in lower-case hex."""
    if not isinstance(value, str) or len(value) != 2 * size or not set(value) <= set("0123456789abcdef"):
        raise ReceiptError(f"expected {2 * size} lower-case hex digits in {what}")
    return bytes.fromhex(value)
