"""The upload of an existing private key: sealed shares of it, and what everybody can check about them.

Rules kept (specs/import-export.md): the private key is never in it; client, gateway and nodes compute the same
certificate body from it; what is sealed for one boot of one node does not enter the transcript, so that a repeated
upload of the same dealing is recognised.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url
from attestation.errors import CodedError, DocumentError
from enclave.certificate import KeyCertificate, NodeShare
from enclave.errors import AbortError, CallerError, PeerError
from enclave.fields import Fields
from enclave.group import GROUPS, Group
from enclave.ids import check_id
from enclave.imports.possession import PROOF_BYTES_MAX, possesses
from enclave.key_order import KeyOrder
from enclave.key_specs import NODES_MAX, P256, SHARES_NEEDED_MIN, Origin
from enclave.roster import Roster
from enclave.secret_upload import SealedFor
from enclave.threshold import vss
from enclave.threshold.ceremony_kem import SEALED_BYTES
from enclave.threshold.montgomery import public_key_x25519
from enclave.threshold.p256 import PUBLIC_KEY_BYTES, check_point
from enclave.threshold.p256_wrap import WRAPPED_BYTES
from enclave.wire.message import tagged

VERSION = 1
"""An import makes the first version of a key."""

BODY_BYTES_MAX = 128 << 10
"""Largest upload in bytes: sixteen sealed shares are 26 KiB of base64url."""

_NOT_SEALED = "expected commitments and sealed shares"
_HINT = "split it on your machine: `kms keys import` or client.keys.import_key; the cluster never takes a private key"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUpload:
    """What a client uploads; `shares` are in the order of share indices, which count from 1."""

    key: str
    order: KeyOrder
    """What the key shall be: the same members as in an order for a new one, with `nodes` written out."""
    commitments: tuple[bytes, ...]
    """Feldman commitments; the first is the shared scalar's public point."""
    public_key: bytes
    chain_code: bytes
    created_at: int
    wrapped: bytes
    """A P-256 key under the shared scalar; empty for keys that are the shared scalar."""
    proof: bytes
    """That whoever made the upload has the private key."""
    shares: tuple[SealedFor, ...]

    @classmethod
    def parse(cls, body: bytes, roster: Roster) -> KeyUpload:
        """Read the body of `POST /v1/keys/import`.

        Raises CallerError: `import.plaintext` for anything that brings no sealed shares, `import.malformed`, the codes
        of orders, JSON codes.
        """
        try:
            value = parse_json(body, bytes_max=BODY_BYTES_MAX, depth_max=4)
        except DocumentError as error:
            if error.code == "json.too-large":
                raise CallerError(error.detail, code=error.code, hint=error.hint) from None
            raise CallerError(_NOT_SEALED, code="import.plaintext", hint=_HINT) from None
        if not isinstance(value, dict) or "commitments" not in value or "shares" not in value:
            raise CallerError(_NOT_SEALED, code="import.plaintext", hint=_HINT)
        fields = Fields(value, where="", error=_malformed)
        order = KeyOrder.parse(canonical_json(fields.mapping("order", high=16)), roster)
        upload = cls(
            key=check_id(fields.take("key"), "key"),
            order=order,
            commitments=_read_points(fields, GROUPS[order.kind.group]),
            public_key=fields.hexadecimal("public_key", size_max=PUBLIC_KEY_BYTES),
            chain_code=fields.hexadecimal("chain_code", size=32),
            created_at=fields.integer("created_at"),
            wrapped=fields.base64("wrapped", size=WRAPPED_BYTES) if "wrapped" in fields else b"",
            proof=fields.base64("proof", size_max=PROOF_BYTES_MAX),
            shares=tuple(_read_share(item) for item in fields.each("shares", low=1, high=NODES_MAX)),
        )
        fields.done()
        if tuple(item.slot for item in upload.shares) != order.nodes:
            fields.refuse("expected one share of each of the order's nodes, in the roster's order", "shares")
        upload._check_wrapping(fields)
        return upload

    def body(self) -> bytes:
        """The JSON that is uploaded."""
        shares = [
            {"slot": item.slot, "boot_counter": item.boot_counter, "sealed": b64url(item.sealed)}
            for item in self.shares
        ]
        return canonical_json(self._terms() | {"proof": b64url(self.proof), "shares": shares})

    def transcript(self, cluster: bytes) -> bytes:
        """32 bytes that name the key and how it is shared, whatever boots its shares are sealed to."""
        return hashlib.sha256(tagged("import-upload", cluster, canonical_json(self._terms()))).digest()

    def certificate(self, cluster: bytes) -> KeyCertificate:
        """What the nodes sign about the key; raises CallerError (`import.commitments`, `import.public-key`)."""
        group = GROUPS[self.order.kind.group]
        try:
            vss.check_commitments(group, self.commitments, self.order.shares_needed, dealer="")
            nodes = tuple(
                NodeShare(slot=slot, index=index, public_share=vss.public_share(group, self.commitments, index))
                for index, slot in self.order.participants.items()
            )
        except (AbortError, PeerError):
            raise CallerError("the commitments do not make a shared key", code="import.commitments") from None
        order = self.order
        return KeyCertificate(
            cluster=cluster,
            key=self.key,
            name=order.name,
            version=VERSION,
            spec=order.spec,
            usage=order.usage,
            custody=order.custody,
            shares_needed=order.shares_needed,
            nodes=nodes,
            assemblers=order.assemblers,
            public_key=self._checked_public_key(),
            chain_code=self.chain_code,
            policy=order.policy,
            epoch=1,
            transcript=self.transcript(cluster),
            activated_at=self.created_at,
            group_key=self.commitments[0] if order.spec in (P256, "hpke-x25519") else None,
            wrapped_digest=hashlib.sha256(self.wrapped).digest() if order.spec == P256 else None,
            origin=Origin.IMPORTED,
            exportable=order.exportable,
        )

    def check_proof(self, cluster: bytes) -> None:
        """Raises CallerError (`import.proof`) unless whoever made the upload proves to have the private key."""
        transcript = self.transcript(cluster)
        if not possesses(self.order.spec, self.commitments[0], self.public_key, transcript, self.proof):
            raise CallerError("the proof of possession does not hold", code="import.proof")

    def share_for(self, slot: str) -> tuple[int, SealedFor] | None:
        """Share index and sealed share of a slot, or None."""
        return next(((index, item) for index, item in enumerate(self.shares, start=1) if item.slot == slot), None)

    def with_proof(self, proof: bytes) -> KeyUpload:
        """This upload with its proof, which speaks of everything else."""
        return replace(self, proof=proof)

    def _terms(self) -> dict[str, Any]:
        """Everything but who it is sealed to, and the proof."""
        value: dict[str, Any] = {
            "key": self.key,
            "order": self.order.to_json(),
            "commitments": [point.hex() for point in self.commitments],
            "public_key": self.public_key.hex(),
            "chain_code": self.chain_code.hex(),
            "created_at": self.created_at,
        }
        return value | ({"wrapped": b64url(self.wrapped)} if self.wrapped else {})

    def _checked_public_key(self) -> bytes:
        """The public key, if it is that of the commitments; a P-256 key is proven apart from them."""
        point, spec = self.commitments[0], self.order.spec
        try:
            if spec == P256:
                check_point(self.public_key)
                return self.public_key
            expected = public_key_x25519(point) if spec == "hpke-x25519" else point
        except CallerError:
            expected = b""
        if self.public_key != expected:
            raise CallerError("the public key is not that of the commitments", code="import.public-key")
        return self.public_key

    def _check_wrapping(self, fields: Fields) -> None:
        if (self.order.spec == P256) != bool(self.wrapped):
            fields.refuse("a P-256 key is wrapped, no other is", "wrapped")
        if not SHARES_NEEDED_MIN <= self.order.shares_needed == len(self.commitments):
            fields.refuse("expected as many commitments as shares are needed", "commitments")


def share_info(cluster: bytes, transcript: bytes, *, slot: str, boot_counter: int, identity_key: bytes) -> bytes:
    """What a share is sealed with: for this upload, this slot, this boot."""
    return tagged("import-share", cluster, transcript, slot.encode(), boot_counter.to_bytes(8, "big"), identity_key)


def _read_share(fields: Fields) -> SealedFor:
    return SealedFor(
        slot=fields.label("slot"),
        boot_counter=fields.integer("boot_counter", 1),
        sealed=fields.base64("sealed", size=SEALED_BYTES),
    )


def _read_points(fields: Fields, group: Group) -> tuple[bytes, ...]:
    points = []
    for text in fields.texts("commitments", low=1, high=NODES_MAX):
        try:
            point = bytes.fromhex(text)
        except ValueError:
            point = b""
        if len(point) != group.point_bytes or text != point.hex():
            fields.refuse(f"expected points of {group.point_bytes} bytes in lower-case hex", "commitments")
        points.append(point)
    return tuple(points)


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="import.malformed")
