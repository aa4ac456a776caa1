"""Signed documents: canonical JSON under detached Ed25519 signatures (the DSSE envelope shape).

The signature covers PAE(type, payload) = "DSSEv1" SP len(type) SP type SP len(payload) SP payload,
so a signature for one kind of document never counts for another.  A key id is the base64url
SHA-256 of the raw public key: it identifies, it never grants.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from attestation.canonical import canonical_json, parse_json
from attestation.errors import DocumentError

SIGNATURES_MAX = 64
"""More signatures than any roster or registry has members: bounds the work of one document."""


def b64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: Any) -> bytes:
    """Strict inverse of `b64url`; raises DocumentError (`document.base64`) on padding or stray characters."""
    if not isinstance(text, str) or not text.isascii():
        raise DocumentError("expected base64url text", code="document.base64")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise DocumentError("expected base64url without padding", code="document.base64") from None
    if b64url(data) != text:
        raise DocumentError("expected canonical base64url without padding", code="document.base64")
    return data


def key_id(public_key: bytes) -> str:
    """Name of a public key: base64url SHA-256 of its raw bytes."""
    return b64url(hashlib.sha256(public_key).digest())


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """The exact bytes that are signed (DSSE v1 PAE)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One document with its signatures: `payload` is the exact canonical JSON that was signed."""

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...] = ()
    """Pairs (key id, 64-byte Ed25519 signature)."""

    @classmethod
    def of(cls, payload_type: str, value: dict[str, Any]) -> Envelope:
        """An unsigned envelope over the canonical form of `value`."""
        return cls(payload_type=payload_type, payload=canonical_json(value))

    @classmethod
    def parse(cls, data: bytes | dict[str, Any]) -> Envelope:
        """Read the JSON form strictly; raises DocumentError."""
        value = parse_json(data) if isinstance(data, bytes) else data
        if not isinstance(value, dict) or set(value) != {"payloadType", "payload", "signatures"}:
            raise DocumentError("expected exactly payloadType, payload and signatures", code="envelope.malformed")
        listed = value["signatures"]
        if not isinstance(listed, list) or len(listed) > SIGNATURES_MAX or not isinstance(value["payloadType"], str):
            raise DocumentError("expected a payload type and at most 64 signatures", code="envelope.malformed")
        signatures = []
        for item in listed:
            if not isinstance(item, dict) or set(item) != {"keyid", "sig"} or not isinstance(item["keyid"], str):
                raise DocumentError("expected keyid and sig in each signature", code="envelope.malformed")
            signatures.append((item["keyid"], b64url_decode(item["sig"])))
        return cls(
            payload_type=value["payloadType"],
            payload=b64url_decode(value["payload"]),
            signatures=tuple(signatures),
        )

    def signed(self, private_key: Ed25519PrivateKey) -> Envelope:
        """A copy with one more signature."""
        signature = private_key.sign(pre_authentication(self.payload_type, self.payload))
        name = key_id(private_key.public_key().public_bytes_raw())
        kept = tuple(pair for pair in self.signatures if pair[0] != name)
        return Envelope(payload_type=self.payload_type, payload=self.payload, signatures=(*kept, (name, signature)))

    def signers(self, public_keys: Iterable[bytes]) -> frozenset[bytes]:
        """Those of `public_keys` (raw Ed25519) whose valid signature is present; others are ignored."""
        message = pre_authentication(self.payload_type, self.payload)
        known = {key_id(public): public for public in public_keys}
        valid = set()
        for name, signature in self.signatures:
            public = known.get(name)
            if public is None or public in valid:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
            except (InvalidSignature, ValueError):
                continue
            valid.add(public)
        return frozenset(valid)

    def open(self, payload_type: str, public_keys: Iterable[bytes], *, threshold: int) -> dict[str, Any]:
        """The payload, once at least `threshold` distinct known keys have signed it.

        Raises DocumentError: `envelope.type`, `envelope.signatures`, `envelope.not-canonical`.
        """
        if threshold < 1:
            raise DocumentError("a threshold below one would accept anything", code="envelope.signatures")
        if self.payload_type != payload_type:
            raise DocumentError(f"expected {payload_type}, found {self.payload_type[:80]}", code="envelope.type")
        found = len(self.signers(public_keys))
        if found < threshold:
            raise DocumentError(
                f"expected {threshold} valid signatures of known keys, found {found}", code="envelope.signatures"
            )
        return self.value()

    def value(self) -> dict[str, Any]:
        """The payload parsed without any signature check; refused unless it is its own canonical form."""
        value = parse_json(self.payload)
        if not isinstance(value, dict) or canonical_json(value) != self.payload:
            raise DocumentError("payload is not canonical JSON", code="envelope.not-canonical")
        return value

    def to_json(self) -> dict[str, Any]:
        """The JSON form: `payloadType`, `payload` (base64url), `signatures` [{keyid, sig}]."""
        return {
            "payloadType": self.payload_type,
            "payload": b64url(self.payload),
            "signatures": [{"keyid": name, "sig": b64url(signature)} for name, signature in self.signatures],
        }

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed bytes, independent of who signed: the document's identity."""
        return hashlib.sha256(pre_authentication(self.payload_type, self.payload)).digest()
