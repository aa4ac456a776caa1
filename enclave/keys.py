"""The key shares a node holds, and those of ceremonies that wait for their commit.

Rules kept: a share is in the arena or sealed, nowhere else; it becomes a key only by `activate`, which
seals it, removes the pending copy and is on disk before it returns; a pending share is never deleted
without that (specs/node.md section 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from enclave.certificate import KeyCertificate, certificate_bytes
from enclave.errors import CallerError, RefusedError, StorageError, WireError
from enclave.identity import BootIdentity
from enclave.seal import SealedStore
from enclave.secret import Secret
from enclave.tokens import key_resource
from enclave.wire.documents import CertificateSignature, KeyHolding
from enclave.wire.message import Message, decode_as, encode

T = TypeVar("T")

PENDING_MAX = 256
"""Prepared ceremonies without a commit; each cost an administrator's signature, so more means a fault."""


class Prepared(Message, frozen=True):
    """What is sealed when a participant prepares: enough to judge the commit after a restart."""

    session: bytes
    body: bytes
    """Certificate body the participants are about to sign."""
    statement: bytes
    """Hash every participant signs in round 3."""
    participants: list[tuple[str, int, bytes]]
    """Slot, boot counter and identity key of each, as attested during the ceremony."""
    inputs: bytes
    """Digest of the round-2 messages this was computed from."""
    message: bytes
    """Own round-3 message, encoded."""


class _StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    session: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldKey:
    """One active key share."""

    certificate: KeyCertificate
    body: bytes
    session: bytes
    """Ceremony that made it."""
    index: int
    share: Secret

    def indices(self, slots: list[str]) -> list[int]:
        """Share indices of a signer set.

        Raises CallerError: `signers.unknown`, `signers.order` unless strictly rising, `signers.too-few`.
        """
        nodes = [self.certificate.node(slot) for slot in slots]
        indices = [node.index for node in nodes if node is not None]
        if len(indices) != len(slots):
            raise CallerError("a signer does not hold this key", code="signers.unknown")
        if indices != sorted(set(indices)):
            raise CallerError("expected distinct signers by rising share index", code="signers.order")
        if len(indices) < self.certificate.signing_quorum:
            raise CallerError(f"expected at least {self.certificate.signing_quorum} signers", code="signers.too-few")
        return indices


class KeyTable:
    """All keys and pending ceremonies of a node, mirrored in its store."""

    def __init__(self, store: SealedStore, slot: str) -> None:
        """Load everything; raises StorageError if what was sealed does not have its form."""
        self._store = store
        self._slot = slot
        self._keys: dict[str, HeldKey] = {}
        self._pending: dict[bytes, Prepared] = {}
        for name, value in store.items("key"):
            stored = _decode(_StoredKey, value)
            self._hold(name, stored, store.get_secret("share", name))
        for _, value in store.items("pending"):
            prepared = _decode(Prepared, value)
            self._pending[prepared.session] = prepared

    def get(self, key: str, version: int) -> HeldKey:
        """An active key; raises CallerError (`key.unknown`)."""
        held = self._keys.get(key_resource(key, version))
        if held is None:
            raise CallerError("this node holds no share of that key and version", code="key.unknown")
        return held

    def newest(self, key: str) -> HeldKey:
        """The highest version of a key held here; raises CallerError (`key.unknown`)."""
        versions = [held for held in self._keys.values() if held.certificate.key == key]
        if not versions:
            raise CallerError("this node holds no share of that key", code="key.unknown")
        return max(versions, key=lambda held: held.certificate.version)

    def knows(self, key: str) -> bool:
        """Whether the id is taken, by a key or by a pending ceremony."""
        name = f"{key}/"
        return any(known.startswith(name) for known in self._keys) or any(
            KeyCertificate.parse(prepared.body).key == key for prepared in self._pending.values()
        )

    def under(self, policy: str) -> Iterator[KeyCertificate]:
        """The keys that a policy is for."""
        return (held.certificate for held in self._keys.values() if held.certificate.policy == policy)

    def certificates(self) -> Iterator[KeyCertificate]:
        """Every active key."""
        return (held.certificate for held in self._keys.values())

    def by_session(self, session: bytes) -> HeldKey | None:
        """The active key a ceremony made, if any."""
        return next((held for held in self._keys.values() if held.session == session), None)

    def pending(self, session: bytes) -> Prepared | None:
        """A prepared ceremony that waits for its commit, if any."""
        return self._pending.get(session)

    def prepare(self, prepared: Prepared, share: Secret) -> None:
        """Seal a pending share; it is on disk when this returns.  Raises RefusedError, StorageError."""
        if len(self._pending) >= PENDING_MAX:
            raise RefusedError("too many ceremonies wait for their commit", code="ceremony.unresolved")
        name = prepared.session.hex()
        self._store.put("pending", name, encode(prepared))
        self._store.put_secret("pending-share", name, share)
        self._store.commit()
        self._pending[prepared.session] = prepared

    def activate(self, session: bytes) -> HeldKey:
        """Turn a pending share into a key; it is on disk when this returns.  Raises StorageError."""
        prepared = self._pending[session]
        share = self._store.get_secret("pending-share", session.hex())
        certificate = KeyCertificate.parse(prepared.body)
        name = key_resource(certificate.key, certificate.version)
        stored = _StoredKey(session=session, body=prepared.body)
        self._store.put("key", name, encode(stored))
        self._store.put_secret("share", name, share)
        self._store.delete("pending", session.hex())
        self._store.delete("pending-share", session.hex())
        self._store.commit()
        del self._pending[session]
        return self._hold(name, stored, share)

    def adopt(self, session: bytes, body: bytes, share: Secret) -> HeldKey:
        """Take in a share that a client dealt; it is on disk when this returns.  Raises StorageError."""
        certificate = KeyCertificate.parse(body)
        name = key_resource(certificate.key, certificate.version)
        stored = _StoredKey(session=session, body=body)
        self._store.put("key", name, encode(stored))
        self._store.put_secret("share", name, share)
        self._store.commit()
        return self._hold(name, stored, share)

    def holdings(self) -> Iterator[KeyHolding]:
        """What is held, for a relay that wants to know."""
        for held in self._keys.values():
            fact = held.certificate
            yield KeyHolding(key=fact.key, version=fact.version, epoch=fact.epoch, state="active")

    @property
    def sessions(self) -> list[bytes]:
        """Sessions of pending ceremonies."""
        return list(self._pending)

    def __len__(self) -> int:
        return len(self._keys)

    def wipe(self) -> None:
        """Wipe every share in memory: the node is stopping."""
        for held in self._keys.values():
            held.share.wipe()
        self._keys.clear()

    def _hold(self, name: str, stored: _StoredKey, share: Secret) -> HeldKey:
        certificate = KeyCertificate.parse(stored.body)
        own = certificate.node(self._slot)
        if own is None:
            raise StorageError("a stored key names other holders than this slot", code="storage.form")
        held = HeldKey(certificate=certificate, body=stored.body, session=stored.session, index=own.index, share=share)
        self._keys[name] = held
        return held


def certify(identity: BootIdentity, body: bytes) -> CertificateSignature:
    """This boot's signature over a certificate body."""
    return CertificateSignature(
        slot=identity.public.slot,
        boot_counter=identity.public.boot_counter,
        identity_key=identity.public.identity_key,
        body=body,
        signature=identity.sign(certificate_bytes(body)),
    )


def _decode(kind: type[T], value: bytes) -> T:
    try:
        return decode_as(kind, value)
    except WireError:
        raise StorageError("a sealed record does not have its form", code="storage.form") from None
