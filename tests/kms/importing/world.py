"""Imports and exports among in-process nodes, step by step, so that tests can change each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from enclave.certificate import KeyCertificate
from enclave.ids import new_id
from enclave.imports.upload import KeyUpload
from enclave.key_order import KeyOrder
from enclave.payload.export import ExportBody
from enclave.presentation import PeerStanding
from enclave.tokens import make_token
from enclave.wire.imports import ExportedShare, ExportRequest, ImportAccepted, ImportCommit, ImportPrepare
from kms.client.importing.dealing import Dealing
from kms.client.importing.hexadecimal import from_hex
from kms.client.importing.material import CURVE_OF_SPEC, KeyMaterial
from tests.enclave.node.world import World

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)

ORDERS: dict[str, dict[str, Any]] = {
    "ed25519": {"usage": "generic"},
    "secp256k1-ecdsa": {"usage": "evm"},
    "secp256k1-schnorr": {"usage": "bitcoin"},
    "hpke-x25519": {"usage": "decrypt"},
    "p256-ecdsa": {"usage": "generic", "custody": "reconstruct"},
}
"""What an order of each spec has to say."""


class _Standing:
    """The part of a verified standing that dealing reads."""

    def __init__(self, identity: Any) -> None:
        self.identity = identity


class ImportWorld(World):
    """A world whose operator imports keys and whose agent may export them."""

    def material(self, spec: str = "ed25519", key: bytes | None = None) -> KeyMaterial:
        """A key of a spec, random unless given."""
        return from_hex((key or os.urandom(32)).hex().encode(), CURVE_OF_SPEC[spec])

    def dealing(self, material: KeyMaterial, *, spec: str = "ed25519", key: str | None = None, **terms: Any) -> Dealing:
        """The key dealt to all nodes."""
        created_at = terms.pop("created_at", self.now)
        value = {
            "name": "treasury", "spec": spec, "policy": self.policy_id, "nodes": self.slots, **ORDERS[spec],
        } | terms  # fmt: skip
        order = KeyOrder.parse(canonical_json(value), self.roster)
        cluster = self.roster.cluster_id
        return Dealing(material, order, cluster=cluster, key=key or new_id("key"), now=created_at)

    def sealed(self, dealing: Dealing) -> KeyUpload:
        """Sealed to the boots that run now."""
        standings: dict[str, PeerStanding] = {
            slot: _Standing(node.identity.public)
            for slot, node in self.nodes.items()  # type: ignore[misc]
        }
        return dealing.sealed(standings)

    def upload(self, spec: str = "ed25519", **terms: Any) -> KeyUpload:
        """What an honest client uploads."""
        with self.material(spec) as material, self.dealing(material, spec=spec, **terms) as dealing:
            return self.sealed(dealing)

    def import_token(self, key: str, body: bytes, **changes: Any) -> str:
        """The operator's signature over an upload."""
        claims: dict[str, Any] = {
            "issuer": self.operator_id, "act": "keys.import", "resource": key, "signer": self.operator,
        } | changes  # fmt: skip
        return make_token(claims.pop("signer"), cluster=self.roster.cluster_id, body=body, now=self.now, **claims)

    def prepare_at(
        self, slot: str, upload: KeyUpload, *, body: bytes | None = None, token: str | None = None, **claims: Any
    ) -> ImportAccepted:
        """One node's answer to an upload."""
        body = upload.body() if body is None else body
        token = token or self.import_token(upload.key, body, **claims)
        accepted: ImportAccepted = self.call(slot, "import-prepare", ImportPrepare(token=token, body=body))
        return accepted

    def prepare(self, upload: KeyUpload, slots: Sequence[str] | None = None) -> list[ImportAccepted]:
        """The answers of some nodes (all unless told)."""
        return [self.prepare_at(slot, upload) for slot in slots or self.slots]

    def commit_at(self, slot: str, upload: KeyUpload, accepted: list[ImportAccepted]) -> Any:
        """One node's answer to everybody's acceptance."""
        transcript = upload.transcript(self.roster.cluster_id)
        return self.call(slot, "import-commit", ImportCommit(transcript=transcript, accepted=accepted))

    def import_key(self, upload: KeyUpload | None = None, **terms: Any) -> KeyCertificate:
        """The whole way of an honest import, its certificate verified as a client would."""
        upload = upload or self.upload(**terms)
        accepted = self.prepare(upload)
        certificate = self.verified([self.commit_at(slot, upload, accepted) for slot in self.slots])
        self.now += 1
        return certificate

    def export_at(
        self, slot: str, key: KeyCertificate, recipient: X25519PrivateKey, *, body: bytes | None = None, **claims: Any
    ) -> ExportedShare:
        """One node's answer to an export."""
        body = body or ExportBody(recipient=recipient.public_key().public_bytes_raw()).body()
        token = claims.pop("token", None) or self.token(key, body, act="keys.export", **claims)
        share: ExportedShare = self.call(slot, "export", ExportRequest(token=token, body=body))
        return share
