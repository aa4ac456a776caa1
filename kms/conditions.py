"""Conditional requests (RFC 9110, section 13): entity tags of what a client may hold, and what it then asks for."""

from __future__ import annotations

import hashlib
import re

from kms.errors import PreconditionError, RequestError

_TAGS = re.compile(r'\*|(W/)?"[\x21\x23-\x7e]{0,64}"(\s*,\s*(W/)?"[\x21\x23-\x7e]{0,64}")*')

CHARACTERS_MAX = 1024


def etag(body: bytes) -> str:
    """A strong entity tag."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def is_held(tag: str, if_none_match: str | None) -> bool:
    """Whether the client holds this very representation; raises RequestError (`request.condition`)."""
    if if_none_match is None:
        return False
    tags = _read(if_none_match, "If-None-Match")
    # Weak comparison: for a GET both forms mean the same content.
    return tags == ["*"] or tag in [item.removeprefix("W/") for item in tags]


def check_match(tag: str | None, if_match: str | None) -> None:
    """Refuse a change of something that is not as the client last saw it; `tag` is None where there is nothing yet.

    Raises PreconditionError (`precondition.failed`), RequestError (`request.condition`).
    """
    if if_match is None:
        return
    tags = _read(if_match, "If-Match")
    if tag is None or (tags != ["*"] and tag not in tags):
        raise PreconditionError("it has changed since the entity tag in If-Match was current")


def _read(text: str, name: str) -> list[str]:
    if len(text) > CHARACTERS_MAX or not _TAGS.fullmatch(text.strip()):
        raise RequestError(f"expected {name} with entity tags or *", code="request.condition")
    return [item.strip() for item in text.split(",")]
