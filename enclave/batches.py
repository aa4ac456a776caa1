"""Many requests under one token: the items of a batch body, and what one of them authorises by itself.

Rules kept (specs/request-tokens.md section 7): the token is over the whole body; an item is taken by its number from
exactly those bytes, has a request id of its own, and from there on is judged as if it had come alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.errors import DocumentError
from enclave.errors import CallerError, TokenError
from enclave.tokens import Act, Token, parse_key_resource

ITEMS_MAX = 64
"""Most items: each is as much work for nodes as a request."""

BATCH_BYTES_MAX = 256 << 10
"""Largest body in bytes: it goes to every signer with every item."""

PARSED_KEPT = 16
"""Bodies kept in parsed form; a node is asked for the items of one batch within a second or so."""

VERBS: Mapping[str, Act] = {"sign": Act.SIGN, "decrypt": Act.DECRYPT, "rewrap": Act.DECRYPT}
"""What an item may ask for, and the act its own token would have had."""

REF = re.compile(r"[A-Za-z0-9._:-]{1,64}")
MEMBERS = frozenset({"ref", "verb", "key", "body"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One request of a batch."""

    ref: str
    """The sender's name for it; nodes ignore it."""
    verb: str
    resource: str
    """`key_.../<version>`."""
    body: bytes
    """Canonical JSON of member `body`: what a request for this alone would have carried."""


@lru_cache(maxsize=PARSED_KEPT)
def items_of(body: bytes) -> tuple[Item, ...]:
    """The items in order; raises CallerError (`json.*`, `batch.*`), TokenError (`token.resource`)."""
    if len(body) > BATCH_BYTES_MAX:
        raise CallerError(f"expected at most {BATCH_BYTES_MAX} bytes, found {len(body)}", code="batch.too-large")
    try:
        value = parse_json(body)
    except DocumentError as error:
        raise CallerError(error.detail, code=error.code, hint=error.hint) from None
    if not isinstance(value, dict) or set(value) != {"items"} or not isinstance(value["items"], list):
        raise CallerError("expected an object with the one member items, a list", code="batch.malformed")
    if not 1 <= len(value["items"]) <= ITEMS_MAX:
        raise CallerError(f"expected 1 to {ITEMS_MAX} items, found {len(value['items'])}", code="batch.count")
    items = tuple(_item(number, item) for number, item in enumerate(value["items"]))
    if len({item.ref for item in items}) != len(items):
        raise CallerError("two items have the same ref", code="batch.ref", hint="answers are told apart by it")
    return items


def item_token(token: Token, item: Item, number: int) -> Token:
    """What a verified batch token authorises for this item."""
    text = token.text.encode("ascii")
    request_id = hashlib.sha256(text + number.to_bytes(4, "big")).digest()
    return replace(token, act=VERBS[item.verb], resource=item.resource, request_id=request_id)


def unwrapped(token: Token, body: bytes, number: int, act: Act | None) -> tuple[Token, bytes]:
    """Item `number` of the body that a verified batch token is over: its own token and body.

    Raises CallerError (`batch.item` outside the batch, and as `items_of`), TokenError (`token.act`).
    """
    items = items_of(body)
    if not 0 <= number < len(items):
        raise CallerError(f"expected an item of 0 to {len(items) - 1}", code="batch.item")
    item = items[number]
    if act is not None and VERBS[item.verb] is not act:
        raise TokenError(f"expected act {act}, item {number} says {item.verb}", code="token.act")
    return item_token(token, item, number), item.body


def _item(number: int, value: Any) -> Item:
    if not isinstance(value, dict) or set(value) != MEMBERS:
        raise CallerError(
            f"item {number}: expected exactly the members ref, verb, key and body", code="batch.malformed"
        )
    ref, verb, key, body = (value[name] for name in ("ref", "verb", "key", "body"))
    if not isinstance(ref, str) or not REF.fullmatch(ref):
        raise CallerError(f"item {number}: expected a ref of 1 to 64 of A-Z a-z 0-9 . _ : -", code="batch.ref")
    if not isinstance(verb, str) or verb not in VERBS:
        raise CallerError(f"item {number}: expected a verb of {', '.join(VERBS)}", code="batch.verb")
    if not isinstance(key, str) or not isinstance(body, dict):
        raise CallerError(f"item {number}: expected a key as text and an object as body", code="batch.malformed")
    parse_key_resource(key)
    return Item(ref=ref, verb=verb, resource=key, body=canonical_json(body))
