"""A whole collateral set in one file, whatever platforms it is for (specs/collateral.md).

Rules: the same set gives the same bytes; an item is any blob that is collateral on its own,
never another bundle; the digest names the set and guards against damage, it vouches for nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.errors import CollateralError, DocumentError
from attestation.limits import BLOB_BYTES_MAX, COLLATERAL_ITEMS_MAX

TYPE = "holdfast/collateral-bundle/v1"
MEMBERS = frozenset({"type", "digest", "items"})


def write_bundle(blobs: Iterable[bytes]) -> bytes:
    """The bundle of these blobs; raises CollateralError (`collateral.too-large`) if no reader would take it."""
    items = sorted(set(blobs))
    value = {
        "type": TYPE,
        "digest": _digest(items),
        "items": [base64.b64encode(item).decode("ascii") for item in items],
    }
    data = canonical_json(value) + b"\n"
    if len(data) > BLOB_BYTES_MAX or len(items) > COLLATERAL_ITEMS_MAX:
        raise CollateralError(
            f"the set has {len(items)} items in {len(data)} bytes, a bundle at most {COLLATERAL_ITEMS_MAX} in"
            f" {BLOB_BYTES_MAX}",
            code="collateral.too-large",
            hint="bundle fewer platforms, or the newest documents only",
        )
    return data


def read_bundle(data: bytes) -> list[bytes]:
    """The blobs of a bundle; raises CollateralError (`collateral.malformed`)."""
    try:
        value = parse_json(data, bytes_max=BLOB_BYTES_MAX)
    except DocumentError as error:
        raise _malformed(error.detail) from None
    if not isinstance(value, dict) or set(value) != MEMBERS or value["type"] != TYPE:
        raise _malformed(f"expected exactly type, digest and items of {TYPE}")
    listed = value["items"]
    if not isinstance(listed, list) or len(listed) > COLLATERAL_ITEMS_MAX:
        raise _malformed(f"expected a list of at most {COLLATERAL_ITEMS_MAX} items")
    items = [_item(text) for text in listed]
    if items != sorted(set(items)) or value["digest"] != _digest(items):
        raise _malformed("the items are not those the digest names")
    return items


def _item(text: Any) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise _malformed("expected items in base64")


def _digest(items: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(item).digest() for item in items)).hexdigest()


def _malformed(detail: str) -> CollateralError:
    return CollateralError(f"bundle: {detail}", code="collateral.malformed")
