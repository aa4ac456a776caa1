"""Key certificates: what a key is, signed by the nodes that hold it (specs/key-certificates.md).

A certificate counts with valid signatures of at least T of its own nodes, each under the identity
key the reader verified evidence for: then one signer at least is honest.  Nothing about a key is
believed from anywhere else, so a gateway cannot substitute keys or addresses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import b64url
from attestation.errors import CodedError, DocumentError
from enclave.errors import CallerError, PeerError
from enclave.fields import Fields
from enclave.key_order import KeyOrder
from enclave.key_specs import (
    NODES_MAX,
    OPAQUE_SECRET,
    P256,
    SHARES_NEEDED_MIN,
    SPECS,
    Custody,
    KeySpec,
    Origin,
    Usage,
    privacy_threshold,
)
from enclave.signing_key import PublicKey
from enclave.threshold.montgomery import public_key_x25519
from enclave.threshold.p256 import PUBLIC_KEY_BYTES as P256_POINT_BYTES
from enclave.threshold.p256 import check_point
from enclave.wire.documents import CertificateSignature
from enclave.wire.message import tagged

__all__ = [
    "KeyCertificate",
    "KeyOrder",
    "NodeShare",
    "certificate_bytes",
    "certificate_from_json",
    "certificate_to_json",
    "verify_certificate",
]

GROUP_KEY_SPECS = frozenset({"hpke-x25519", P256})
"""Specs whose public key is not the point of the shared scalar."""

DOCUMENT_TYPE = "holdfast/key-certificate/v1"

CERTIFICATE_BYTES_MAX = 64 << 10
"""Largest certificate body in bytes: 16 nodes stay below 8 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShare:
    """One holder of the key: its slot, share index (from 1) and public share."""

    slot: str
    index: int
    public_share: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCertificate:
    """What the holders of a key sign about it."""

    cluster: bytes
    key: str
    name: str
    version: int
    spec: str
    """Name of the key's kind in `enclave.key_specs.SPECS`."""
    usage: Usage
    custody: Custody
    shares_needed: int
    nodes: tuple[NodeShare, ...]
    assemblers: tuple[str, ...]
    public_key: bytes
    """As users see it: Ed25519 (32), secp256k1 compressed (33) or X25519 (32)."""
    chain_code: bytes
    policy: str
    epoch: int
    transcript: bytes
    """Transcript hash of the ceremony that made these shares, 32 bytes."""
    activated_at: int
    renewed_at: int | None = None
    """When the present epoch began, Unix seconds; None in the first, which began with the key."""
    group_key: bytes | None = None
    """Ed25519 form of an X25519 key, and the shared scalar's point of a P-256 key; else None."""
    wrapped_digest: bytes | None = None
    """SHA-256 of an opaque secret, or of an imported P-256 key, as it is wrapped; else None."""
    origin: Origin = Origin.GENERATED
    exportable: bool = False
    """Whether a policy may allow this key to leave the nodes; fixed when the key is made."""

    @classmethod
    def parse(cls, body: bytes) -> KeyCertificate:
        """Read a body strictly; raises PeerError (`certificate.malformed`)."""
        try:
            value = parse_json(body, bytes_max=CERTIFICATE_BYTES_MAX, depth_max=4)
            is_canonical = canonical_json(value) == body
        except DocumentError as error:
            raise PeerError(error.detail, code="certificate.malformed") from None
        if not is_canonical:
            raise PeerError("expected canonical JSON", code="certificate.malformed")
        fields = Fields(value, where="", error=_malformed)
        fields.constant("type", DOCUMENT_TYPE)
        spec = SPECS[fields.choice("spec", SPECS)]
        # Absent where they say nothing unusual: one certificate has one spelling.
        origin = Origin(fields.choice("origin", [Origin.IMPORTED])) if "origin" in fields else Origin.GENERATED
        exportable = fields.boolean("exportable") if "exportable" in fields else False
        is_wrapped = spec.name == OPAQUE_SECRET or (spec.name == P256 and origin is Origin.IMPORTED)
        certificate = cls(
            cluster=fields.hexadecimal("cluster", size=32),
            key=fields.identifier("key", spec.id_prefix),
            name=fields.label("name"),
            version=fields.integer("version", 1),
            spec=spec.name,
            usage=Usage(fields.choice("usage", list(spec.usages))),
            custody=Custody(fields.choice("custody", list(spec.custodies))),
            shares_needed=fields.integer("shares_needed", SHARES_NEEDED_MIN, NODES_MAX),
            nodes=tuple(_read_node(item, spec) for item in fields.each("nodes", low=1, high=NODES_MAX)),
            assemblers=fields.texts("assemblers", high=NODES_MAX),
            public_key=fields.hexadecimal("public_key", size=_public_key_bytes(spec, origin)),
            chain_code=fields.hexadecimal("chain_code", size=32),
            policy=fields.identifier("policy", "pol"),
            epoch=fields.integer("epoch", 1),
            transcript=fields.hexadecimal("transcript", size=32),
            activated_at=fields.integer("activated_at"),
            renewed_at=fields.integer("renewed_at") if "renewed_at" in fields else None,
            group_key=fields.hexadecimal("group_key", size=32) if spec.name in GROUP_KEY_SPECS else None,
            wrapped_digest=fields.hexadecimal("wrapped_digest", size=32) if is_wrapped else None,
            origin=origin,
            exportable=exportable,
        )
        fields.constant("signing_quorum", certificate.signing_quorum)
        fields.constant("privacy_threshold", certificate.privacy_threshold)
        if "exportable" in value and not exportable:
            fields.refuse("expected true, or nothing", "exportable")
        fields.done()
        certificate._check(fields)
        return certificate

    def body(self) -> bytes:
        """The canonical JSON bytes that are signed (under a tag, see `certificate_bytes`)."""
        value: dict[str, Any] = {
            "type": DOCUMENT_TYPE,
            "cluster": self.cluster.hex(),
            "key": self.key,
            "name": self.name,
            "version": self.version,
            "spec": self.spec,
            "usage": str(self.usage),
            "custody": str(self.custody),
            "shares_needed": self.shares_needed,
            "signing_quorum": self.signing_quorum,
            "privacy_threshold": self.privacy_threshold,
            "nodes": [
                {"slot": node.slot, "index": node.index, "public_share": node.public_share.hex()} for node in self.nodes
            ],
            "assemblers": list(self.assemblers),
            "public_key": self.public_key.hex(),
            "chain_code": self.chain_code.hex(),
            "policy": self.policy,
            "epoch": self.epoch,
            "transcript": self.transcript.hex(),
            "activated_at": self.activated_at,
        }
        if self.renewed_at is not None:
            value["renewed_at"] = self.renewed_at
        if self.group_key is not None:
            value["group_key"] = self.group_key.hex()
        if self.wrapped_digest is not None:
            value["wrapped_digest"] = self.wrapped_digest.hex()
        if self.origin is not Origin.GENERATED:
            value["origin"] = str(self.origin)
        if self.exportable:
            value["exportable"] = True
        return canonical_json(value)

    @property
    def kind(self) -> KeySpec:
        """The facts of the key's spec."""
        return SPECS[self.spec]

    @property
    def signing_quorum(self) -> int:
        """Nodes that take part in one use."""
        return self.kind.signing_quorum(self.custody, self.shares_needed)

    @property
    def privacy_threshold(self) -> int:
        """Nodes that must collude, or break, to learn the key."""
        return privacy_threshold(self.custody, self.shares_needed)

    @property
    def since(self) -> int:
        """When the present epoch began, Unix seconds."""
        return self.activated_at if self.renewed_at is None else self.renewed_at

    @property
    def group_point(self) -> bytes:
        """The public point of the shared scalar."""
        return self.public_key if self.group_key is None else self.group_key

    @property
    def public_shares(self) -> dict[int, bytes]:
        """Share index -> public share."""
        return {node.index: node.public_share for node in self.nodes}

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that hold a share."""
        return tuple(node.slot for node in self.nodes)

    def node(self, slot: str) -> NodeShare | None:
        """The holder in `slot`, or None."""
        return next((node for node in self.nodes if node.slot == slot), None)

    def _check(self, fields: Fields) -> None:
        """What must hold between members."""
        slots, indexes = {node.slot for node in self.nodes}, [node.index for node in self.nodes]
        if len(slots) != len(self.nodes) or indexes != sorted(set(indexes)):
            fields.refuse("expected distinct slots and rising indexes", "nodes")
        if (self.epoch > 1) != (self.renewed_at is not None):
            fields.refuse("expected the time of the present epoch after the first, and only then", "renewed_at")
        if self.signing_quorum > len(self.nodes):
            fields.refuse("more shares are needed than there are nodes", "shares_needed")
        if (self.custody is Custody.RECONSTRUCT) != bool(self.assemblers):
            fields.refuse("assemblers belong to custody reconstruct, and only to it", "assemblers")
        if self.custody is Custody.RELEASE and (self.exportable or self.origin is not Origin.GENERATED):
            fields.refuse("secrets are neither imported nor exported", "custody")
        points = [node.public_share for node in self.nodes]
        points.append(self.public_key if self.group_key is None else self.group_key)
        if not all(_is_point(self.kind.group, point) for point in points):
            fields.refuse("expected points of the key's group", "public_key")
        if self.spec == "hpke-x25519" and self.group_key and public_key_x25519(self.group_key) != self.public_key:
            fields.refuse("public key is not the X25519 form of the group key", "group_key")
        if self.spec == P256 and self.public_key and not _is_p256_point(self.public_key):
            fields.refuse("expected a point of P-256", "public_key")


def certificate_bytes(body: bytes) -> bytes:
    """What a holder signs with its identity key."""
    return tagged("key-certificate", body)


def verify_certificate(
    body: bytes,
    signatures: Sequence[CertificateSignature],
    *,
    identities: Mapping[str, bytes],
    cluster: bytes,
    signers_min: int = SHARES_NEEDED_MIN,
) -> KeyCertificate:
    """The certificate, once T of its own nodes signed it under the identity keys the caller verified.

    `identities` maps slot to the 32-byte identity key whose evidence the caller accepted.  A body
    states its own T; a caller that knows the key's real T passes it as `signers_min`.

    Raises PeerError: `certificate.malformed`, `certificate.cluster`, `certificate.signatures`.
    """
    certificate = KeyCertificate.parse(body)
    if certificate.cluster != cluster:
        raise PeerError("certificate is for another cluster", code="certificate.cluster")
    message = certificate_bytes(body)
    slots: set[str] = set()
    keys: set[bytes] = set()
    for item in signatures[: 4 * NODES_MAX]:
        identity = identities.get(item.slot)
        if identity is None or item.slot in slots or identity in keys or certificate.node(item.slot) is None:
            continue
        if item.body == body and item.identity_key == identity and _verifies(identity, message, item.signature):
            slots.add(item.slot)
            keys.add(identity)
    needed = max(certificate.shares_needed, signers_min)
    if len(slots) < needed:
        raise PeerError(
            f"expected signatures of {needed} attested nodes of the key, found {len(slots)}",
            code="certificate.signatures",
        )
    return certificate


def certificate_to_json(body: bytes, signatures: Sequence[CertificateSignature]) -> dict[str, Any]:
    """The form in HTTP answers: body once, then who signed it."""
    return {
        "body": b64url(body),
        "signatures": [
            {
                "slot": item.slot,
                "boot_counter": item.boot_counter,
                "identity_key": b64url(item.identity_key),
                "signature": b64url(item.signature),
                **_derived_to_json(item),
            }
            for item in signatures
        ],
    }


def _derived_to_json(item: CertificateSignature) -> dict[str, str]:
    if not item.derived_key:
        return {}
    return {"derived_key": b64url(item.derived_key), "derived_signature": b64url(item.derived_signature)}


def certificate_from_json(value: Any) -> tuple[bytes, tuple[CertificateSignature, ...]]:
    """Body and signatures from an HTTP answer, unverified; raises PeerError (`certificate.malformed`)."""
    fields = Fields(value, where="certificate", error=_malformed)
    body = fields.base64("body", size_max=CERTIFICATE_BYTES_MAX)
    signatures = tuple(
        CertificateSignature(
            slot=item.label("slot"),
            boot_counter=item.integer("boot_counter"),
            identity_key=item.base64("identity_key", size=32),
            body=body,
            signature=item.base64("signature", size=64),
            derived_key=item.base64("derived_key", size=33) if "derived_key" in item else b"",
            derived_signature=item.base64("derived_signature", size=64) if "derived_signature" in item else b"",
        )
        for item in fields.each("signatures", high=4 * NODES_MAX)
    )
    fields.done()
    return body, signatures


def _malformed(detail: str) -> CodedError:
    return PeerError(detail, code="certificate.malformed")


def _read_node(fields: Fields, spec: KeySpec) -> NodeShare:
    return NodeShare(
        slot=fields.label("slot"),
        index=fields.integer("index", 1, 255),
        public_share=fields.hexadecimal("public_share", size=spec.point_bytes),
    )


def _public_key_bytes(spec: KeySpec, origin: Origin) -> int:
    """A generated P-256 key's public key is found later; an imported one's is known from the start."""
    return P256_POINT_BYTES if spec.name == P256 and origin is Origin.IMPORTED else spec.public_key_bytes


def _is_p256_point(point: bytes) -> bool:
    try:
        check_point(point)
    except CallerError:
        return False
    return True


def _is_point(group: str, point: bytes) -> bool:
    if group == "ed25519":
        return bool(crypto_core_ed25519_is_valid_point(point))
    try:
        PublicKey.parse("ES256K", point)
    except DocumentError:
        return False
    return True


def _verifies(identity_key: bytes, message: bytes, signature: bytes) -> bool:
    if len(identity_key) != 32 or len(signature) != 64:
        return False
    try:
        crypto_sign_open(signature + message, identity_key)
    except BadSignatureError:
        return False
    return True
