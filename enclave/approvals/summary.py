"""A waiting request in words, made from its exact bytes: by each node, and by the approver's own client.

The text is part of the fingerprint (specs/approvals.md section 3), so two renderers have to agree on every
character; a change of these words is a new RENDERING.  Rules kept: ASCII only, one fact per line, nothing of the
body left out - what is too long is shown at its beginning, with size and SHA-256 of the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url_decode
from attestation.errors import DocumentError
from enclave.certificate import KeyCertificate
from enclave.payload.decrypt import DecryptBody, parse_decrypt_body
from enclave.payload.sign import Payload, parse_sign_body
from enclave.tokens import Act, Token

RENDERING = "Holdfast operation, rendering 1"

CONTENT_CHARACTERS_MAX = 4000
"""Most characters of the body shown: a screen or two; the rest is covered by its hash."""

TEXT_CHARACTERS_MAX = 2000
"""Most characters of a message shown as text."""

TEXT_MEMBERS = ("message", "claims")
"""Members of a body that hold base64url of what may be text."""

ETHER_DECIMALS, SOL_DECIMALS = 18, 9

Parsed = Payload | DecryptBody


def parse_waiting(body: bytes, act: Act, key: KeyCertificate) -> Parsed:
    """The payload of a request that may wait; raises CallerError."""
    return parse_decrypt_body(body) if act is Act.DECRYPT else parse_sign_body(body, key.usage, key.spec)


def policy_kind(payload: Parsed) -> str:
    """The kind policy sees."""
    return payload.policy_kind if isinstance(payload, Payload) else payload.kind


def render(token: Token, key: KeyCertificate, body: bytes, payload: Parsed, *, expires_at: int) -> str:
    """The summary: lines of printable ASCII, ended by newlines."""
    lines = [
        RENDERING,
        f"requested by: {token.issuer}",
        f"key: {key.key} version {key.version}, named {key.name}, {key.spec} for {key.usage}",
        f"kind: {payload.kind}",
        *_facts(payload),
        *_texts(body),
        f"approvals count until: {_time(expires_at)}",
        f"body: {len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}",
        *_content(body),
    ]
    return "".join(_ascii(line) + "\n" for line in lines)


def _facts(payload: Parsed) -> Iterator[str]:
    if isinstance(payload, DecryptBody):
        yield from _opening(payload)
        return
    if payload.not_after is not None:
        yield f"not after: {_time(payload.not_after)}"
    if payload.transaction is not None:
        transaction = payload.transaction
        yield f"chain: {transaction.chain_id}"
        yield f"value: {_units(transaction.value, ETHER_DECIMALS)} ether ({transaction.value} wei)"
        yield f"fee at most: {_units(transaction.fee_max, ETHER_DECIMALS)} ether"
    if payload.solana is not None:
        lamports = sum(effect.lamports for effect in payload.solana.effects())
        yield f"SOL: {_units(lamports, SOL_DECIMALS)} ({lamports} lamports)"
    if payload.policy_kind == "digest":
        yield "WARNING: a digest says nothing of what is signed"
    for name, value in sorted(payload.facts.items()):
        # Numbers in full: some are beyond what JSON can hold.
        plain = isinstance(value, str) or type(value) is int
        yield f"{name}: {value if plain else _json(value)}"


def _opening(body: DecryptBody) -> Iterator[str]:
    yield f"ciphertext: {len(body.ciphertext)} bytes, SHA-256 {hashlib.sha256(body.ciphertext).hexdigest()}"
    yield f"context: {_json(dict(body.context))}"
    if body.recipient is not None:
        yield f"opened for: X25519 key {body.recipient.hex()}"
    if body.opener is not None:
        yield f"opened at: {body.opener}"
    if body.target is not None:
        yield f"sealed again to: {body.target.key}, context {_json(dict(body.target.context))}"


def _texts(body: bytes) -> Iterator[str]:
    """Opaque members in words, where they are words."""
    value = parse_json(body, bytes_max=len(body))
    for name in TEXT_MEMBERS:
        encoded = value.get(name)
        if not isinstance(encoded, str):
            continue
        try:
            text = _ascii(b64url_decode(encoded).decode("utf-8"))
        except (DocumentError, UnicodeDecodeError):
            continue
        cut = f" (first {TEXT_CHARACTERS_MAX} of {len(text)} characters)" if len(text) > TEXT_CHARACTERS_MAX else ""
        yield f"{name} as text{cut}: {text[:TEXT_CHARACTERS_MAX]}"


def _content(body: bytes) -> Iterator[str]:
    """The whole body in canonical form, or its beginning."""
    text = _json(parse_json(body, bytes_max=len(body)))
    if len(text) > CONTENT_CHARACTERS_MAX:
        yield f"content (first {CONTENT_CHARACTERS_MAX} of {len(text)} characters): {text[:CONTENT_CHARACTERS_MAX]}"
    else:
        yield f"content: {text}"


def _json(value: Any) -> str:
    return canonical_json(value).decode()


def _units(amount: int, decimals: int) -> str:
    whole, part = divmod(amount, 10**decimals)
    return f"{whole}.{part:0{decimals}d}".rstrip("0").rstrip(".")


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} Unix seconds"


def _ascii(line: str) -> str:
    """Printable ASCII: everything else as an escape, so that nothing can move or hide on a screen."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape", "surrogatepass").decode() for c in line)
