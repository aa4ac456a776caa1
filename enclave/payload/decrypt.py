"""The body of a decrypt request and the HPKE info its encryption context stands for (specs/payloads.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attestation.canonical import canonical_json, parse_json
from attestation.errors import CodedError, DocumentError
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.wire import tagged

ENC_BYTES = 32
"""HPKE encapsulated key of DHKEM(X25519)."""

TAG_BYTES = 16
"""AEAD tag: a ciphertext is never shorter than enc and tag."""

CIPHERTEXT_BYTES_MAX = 700 << 10
"""Largest ciphertext in bytes: its base64url fits a 1 MiB body."""

CONTEXT_MAX = 32
"""Most members of an encryption context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecryptBody:
    """What a decrypt request asks for."""

    enc: bytes
    """Encapsulated key, 32 bytes."""
    ciphertext: bytes
    """AEAD ciphertext with its tag, without `enc`."""
    context: Mapping[str, str]
    recipient: bytes | None
    """X25519 public key the partial results are sealed to; None lets the gateway see the plaintext."""

    kind = "decrypt"

    @property
    def info(self) -> bytes:
        """HPKE info of the context."""
        return context_info(self.context)


def context_info(context: Mapping[str, str]) -> bytes:
    """HPKE info: empty for an empty context, so that a stock sender without info works."""
    return tagged("context", canonical_json(dict(context))) if context else b""


def parse_decrypt_body(body: bytes) -> DecryptBody:
    """Read the body of `POST /v1/keys/{key}/decrypt`.

    Raises CallerError: `payload.malformed`, `payload.ciphertext`, `payload.recipient`, JSON codes.
    """
    try:
        value = parse_json(body, depth_max=4)
    except DocumentError as error:
        raise CallerError(error.detail, code=error.code, hint=error.hint) from None
    fields = Fields(value, where="", error=_malformed)
    sealed = fields.base64("ciphertext", size_max=CIPHERTEXT_BYTES_MAX)
    context = read_context(fields)
    recipient = fields.base64("recipient") if "recipient" in fields else None
    fields.done()
    if len(sealed) < ENC_BYTES + TAG_BYTES:
        raise CallerError("expected an encapsulated key, a ciphertext and a tag", code="payload.ciphertext")
    if recipient is not None and not is_usable_x25519(recipient):
        raise CallerError("expected a 32-byte X25519 public key", code="payload.recipient")
    return DecryptBody(enc=sealed[:ENC_BYTES], ciphertext=sealed[ENC_BYTES:], context=context, recipient=recipient)


def read_context(fields: Fields) -> dict[str, str]:
    """The optional `context` member: an object of short texts."""
    if "context" not in fields:
        return {}
    context = fields.mapping("context", high=CONTEXT_MAX)
    for value in context.values():
        if not isinstance(value, str) or len(value) > 1024:
            fields.refuse("expected texts of at most 1024 characters", "context")
    return context


def is_usable_x25519(public_key: bytes) -> bool:
    """Whether a shared secret with this key would be secret (32 bytes, not of low order; the top bit is ignored)."""
    if len(public_key) != 32:
        return False
    return public_key[:31] + bytes([public_key[31] & 0x7F]) not in LOW_ORDER_POINTS


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="payload.malformed")


LOW_ORDER_POINTS = frozenset(
    bytes.fromhex(point)
    for point in (
        # RFC 7748 section 6.1: inputs whose shared secret is zero (as listed by https://cr.yp.to/ecdh.html).
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
