"""The upload of an opaque secret: ciphertext and sealed shares of the scalar it is encrypted under, never a plaintext.

Rules kept (specs/opaque-secrets.md): only a uniform scalar is shared; everybody (client, gateway, nodes) computes the
same certificate body from the upload, so a client knows what it will be given before it asks; what is not sealed for
one boot of one node enters the transcript, so that a repeated upload of the same secret is recognised.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url
from attestation.errors import CodedError, DocumentError
from enclave.certificate import KeyCertificate, NodeShare
from enclave.errors import AbortError, CallerError, PeerError
from enclave.fields import Fields
from enclave.group.ed25519 import ED25519
from enclave.ids import check_id, check_name
from enclave.key_specs import NODES_MAX, OPAQUE_SECRET, SHARES_NEEDED_MIN, Custody, Usage
from enclave.threshold import vss
from enclave.threshold.ceremony_kem import SEALED_BYTES
from enclave.wire.message import tagged

PLAINTEXT_BYTES_MAX = 64 << 10
"""Largest secret in bytes: it fits one arena of locked memory."""

OVERHEAD_BYTES = 12 + 16
"""Nonce and tag around the wrapped secret."""

VERSION = 1
"""Version of a secret; a changed secret is a new one."""

BODY_BYTES_MAX = 1 << 20

_NOT_SEALED = "expected a wrapped secret and sealed shares"
_HINT = "seal it on your machine: `kms secrets put` or client.secrets.put; the cluster never takes a plaintext"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFor:
    """One node's share, sealed to the KEM key of one boot."""

    slot: str
    boot_counter: int
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUpload:
    """What a client uploads; `shares` are in the order of share indices, which count from 1."""

    secret: str
    name: str
    policy: str
    shares_needed: int
    commitments: tuple[bytes, ...]
    """Feldman commitments; the first is the scalar's public point."""
    wrapped: bytes
    """Nonce, ciphertext and tag of the secret."""
    created_at: int
    shares: tuple[SealedFor, ...]

    @classmethod
    def parse(cls, body: bytes) -> SecretUpload:
        """Read the body of `PUT /v1/secrets/{secret}`.

        Raises CallerError: `secret.plaintext` for anything that brings no sealed shares, `secret.malformed`,
        `secret.too-large`, `secret.commitments`, JSON codes.
        """
        try:
            value = parse_json(body, bytes_max=BODY_BYTES_MAX, depth_max=4)
        except DocumentError as error:
            if error.code == "json.too-large":
                raise CallerError(error.detail, code=error.code, hint=error.hint) from None
            raise CallerError(_NOT_SEALED, code="secret.plaintext", hint=_HINT) from None
        if not isinstance(value, dict) or "wrapped" not in value or "shares" not in value:
            raise CallerError(_NOT_SEALED, code="secret.plaintext", hint=_HINT)
        fields = Fields(value, where="", error=_malformed)
        upload = cls(
            secret=check_id(fields.take("secret"), "sec"),
            name=check_name(fields.take("name")),
            policy=check_id(fields.take("policy"), "pol"),
            shares_needed=fields.integer("shares_needed", SHARES_NEEDED_MIN, NODES_MAX),
            commitments=tuple(_read_point(text, fields) for text in fields.items("commitments", high=NODES_MAX)),
            wrapped=fields.base64("wrapped"),
            created_at=fields.integer("created_at"),
            shares=tuple(_read_share(item) for item in fields.each("shares", low=1, high=NODES_MAX)),
        )
        fields.done()
        upload._check(fields)
        return upload

    def body(self) -> bytes:
        """The JSON that is uploaded."""
        value: dict[str, Any] = {
            "secret": self.secret,
            "name": self.name,
            "policy": self.policy,
            "shares_needed": self.shares_needed,
            "commitments": [point.hex() for point in self.commitments],
            "wrapped": b64url(self.wrapped),
            "created_at": self.created_at,
            "shares": [
                {"slot": item.slot, "boot_counter": item.boot_counter, "sealed": b64url(item.sealed)}
                for item in self.shares
            ],
        }
        return canonical_json(value)

    def transcript(self, cluster: bytes) -> bytes:
        """32 bytes that name the secret and how it is shared, whatever boots its shares are sealed to."""
        parts = [
            cluster,
            self.secret.encode(),
            VERSION.to_bytes(4, "big"),
            self.name.encode(),
            self.policy.encode(),
            self.shares_needed.to_bytes(4, "big"),
            len(self.shares).to_bytes(4, "big"),
            *(item.slot.encode() for item in self.shares),
            *self.commitments,
            hashlib.sha256(self.wrapped).digest(),
            self.created_at.to_bytes(8, "big"),
        ]
        return hashlib.sha256(tagged("secret-upload", *parts)).digest()

    def certificate(self, cluster: bytes) -> KeyCertificate:
        """What the nodes sign about the secret; raises CallerError (`secret.commitments`)."""
        transcript = self.transcript(cluster)
        try:
            vss.check_commitments(ED25519, self.commitments, self.shares_needed, dealer="")
            nodes = tuple(
                NodeShare(slot=item.slot, index=index, public_share=vss.public_share(ED25519, self.commitments, index))
                for index, item in enumerate(self.shares, start=1)
            )
        except (AbortError, PeerError):
            raise CallerError("the commitments do not make a shared key", code="secret.commitments") from None
        public_key = self.commitments[0]
        return KeyCertificate(
            cluster=cluster,
            key=self.secret,
            name=self.name,
            version=VERSION,
            spec=OPAQUE_SECRET,
            usage=Usage.SECRET,
            custody=Custody.RELEASE,
            shares_needed=self.shares_needed,
            nodes=nodes,
            assemblers=(),
            public_key=public_key,
            chain_code=hashlib.sha256(tagged("chain-code", transcript, public_key)).digest(),
            policy=self.policy,
            epoch=1,
            transcript=transcript,
            activated_at=self.created_at,
            wrapped_digest=hashlib.sha256(self.wrapped).digest(),
        )

    def share_for(self, slot: str) -> tuple[int, SealedFor] | None:
        """Share index and sealed share of a slot, or None."""
        return next(((index, item) for index, item in enumerate(self.shares, start=1) if item.slot == slot), None)

    def _check(self, fields: Fields) -> None:
        slots = [item.slot for item in self.shares]
        if len(set(slots)) != len(slots):
            fields.refuse("expected distinct slots", "shares")
        if self.shares_needed > len(slots) or len(self.commitments) != self.shares_needed:
            fields.refuse("expected as many commitments as shares are needed, and no fewer nodes", "commitments")
        if not OVERHEAD_BYTES < len(self.wrapped) <= PLAINTEXT_BYTES_MAX + OVERHEAD_BYTES:
            raise CallerError(f"a secret has 1 to {PLAINTEXT_BYTES_MAX} bytes", code="secret.too-large")


def share_info(cluster: bytes, upload_transcript: bytes, *, slot: str, boot_counter: int, identity_key: bytes) -> bytes:
    """What a share is sealed with: for this upload, this slot, this boot."""
    return tagged(
        "secret-share", cluster, upload_transcript, slot.encode(), boot_counter.to_bytes(8, "big"), identity_key
    )


def _read_share(fields: Fields) -> SealedFor:
    return SealedFor(
        slot=fields.label("slot"),
        boot_counter=fields.integer("boot_counter", 1),
        sealed=fields.base64("sealed", size=SEALED_BYTES),
    )


def _read_point(value: Any, fields: Fields) -> bytes:
    try:
        point = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        point = b""
    if len(point) != ED25519.point_bytes or value != point.hex():
        fields.refuse("expected points of 32 bytes in lower-case hex", "commitments")
    return point


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="secret.malformed")
