"""The gateway's record of a key: the nodes' certificate as they signed it, and labels nobody signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from enclave.certificate import KeyCertificate, certificate_to_json
from enclave.child_keys import Path, child_of
from enclave.key_addresses import addresses_of
from enclave.key_specs import P256
from enclave.tokens import key_resource
from enclave.wire.documents import CertificateSignature
from kms.store.protocol import StoredKey


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the store keeps of a key."""

    body: bytes
    signatures: list[CertificateSignature]
    labels: dict[str, str]
    earlier: list[tuple[bytes, list[CertificateSignature]]] = []
    """Body and signatures of every version before this one, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key ready for use: its certificate and the lookups that signing needs."""

    certificate: KeyCertificate
    record: KeyRecord
    created_at: int
    index: Mapping[str, int]
    """Slot -> share index."""
    public_shares: Mapping[int, bytes]
    """Share index -> public share."""

    @classmethod
    def of(cls, record: KeyRecord, created_at: int, *, certificate: KeyCertificate | None = None) -> Key:
        """From a record, and its certificate if it was read already; raises PeerError if that is malformed."""
        certificate = certificate or KeyCertificate.parse(record.body)
        stated = next((item.derived_key for item in record.signatures if item.derived_key), b"")
        if certificate.spec == P256 and stated:
            certificate = replace(certificate, public_key=stated)
        return cls(
            certificate=certificate,
            record=record,
            created_at=created_at,
            index={node.slot: node.index for node in certificate.nodes},
            public_shares={node.index: node.public_share for node in certificate.nodes},
        )

    @classmethod
    def load(cls, stored: StoredKey) -> Key:
        """From the store."""
        return cls.of(_DECODER.decode(stored.record), stored.created_at)

    def stored(self) -> StoredKey:
        """For the store."""
        certificate = self.certificate
        return StoredKey(
            key=certificate.key,
            name=certificate.name,
            spec=certificate.spec,
            usage=str(certificate.usage),
            policy=certificate.policy,
            record=_ENCODER.encode(self.record),
            created_at=self.created_at,
        )

    @property
    def key(self) -> str:
        """The key's id."""
        return self.certificate.key

    @property
    def is_complete(self) -> bool:
        """Whether its public key is known; a P-256 key's is not if no assembler got to compute it."""
        return bool(self.certificate.public_key)

    @property
    def resource(self) -> str:
        """What a token for the use of this key names."""
        return key_resource(self.certificate.key, self.certificate.version)

    def child(self, path: Path) -> Key:
        """The key that signs at `path`, for one use; raises CallerError (`derive.refused`, `path.invalid`)."""
        if not path:
            return self
        facts = child_of(self.certificate, path).facts
        return replace(self, certificate=facts, public_shares={node.index: node.public_share for node in facts.nodes})

    def in_order(self, slots: Sequence[str]) -> list[str]:
        """`slots` by rising share index, the order nodes expect."""
        return sorted(slots, key=self.index.__getitem__)

    def with_signatures(self, fresh: Sequence[CertificateSignature]) -> Key:
        """This key with signatures replaced by newer ones of the same slots."""
        merged = {item.slot: item for item in self.record.signatures} | {item.slot: item for item in fresh}
        signatures = [merged[slot] for slot in sorted(merged)]
        return Key.of(msgspec.structs.replace(self.record, signatures=signatures), self.created_at)

    def at_version(self, version: int) -> Key | None:
        """The key as an earlier version of it, or itself; None where there is no such version."""
        if version == self.certificate.version:
            return self
        for place, (body, signatures) in enumerate(self.record.earlier, start=1):
            found = Key.of(KeyRecord(body=body, signatures=signatures, labels=self.record.labels), self.created_at)
            if found.certificate.version == version:
                record = msgspec.structs.replace(found.record, earlier=self.record.earlier[: place - 1])
                return replace(found, record=record)
        return None

    def to_json(self, *, state: str) -> dict[str, Any]:
        """The record as the API shows it; everything but `state` and `labels` is what the certificate says."""
        certificate = self.certificate
        return {
            "key": certificate.key,
            "name": certificate.name,
            "version": certificate.version,
            "spec": certificate.spec,
            "usage": str(certificate.usage),
            "custody": str(certificate.custody),
            "state": state,
            "policy": certificate.policy,
            "shares_needed": certificate.shares_needed,
            "signing_quorum": certificate.signing_quorum,
            "privacy_threshold": certificate.privacy_threshold,
            "nodes": list(certificate.slots),
            "assemblers": list(certificate.assemblers),
            "epoch": certificate.epoch,
            "activated_at": certificate.activated_at,
            "origin": str(certificate.origin),
            "exportable": certificate.exportable,
            "public_key": certificate.public_key.hex(),
            "addresses": addresses(certificate),
            "labels": dict(self.record.labels),
            "certificate": certificate_to_json(self.record.body, self.record.signatures),
        }


def addresses(certificate: KeyCertificate) -> dict[str, str]:
    """Chain -> address of a key of that usage."""
    return addresses_of(certificate.usage, certificate.spec, certificate.public_key)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(KeyRecord)
