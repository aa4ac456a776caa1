"""The key shares a node holds, by key, version and epoch.

Rules kept: a share is in the arena or sealed, nowhere else; of each key version one epoch is sealed, and the one
before it stays in memory only for requests in flight, then is wiped; a request that names another epoch is refused,
so shares of two epochs never meet (specs/ceremonies.md section 7).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from enclave.certificate import KeyCertificate, certificate_bytes
from enclave.errors import CallerError, RefusedError, StorageError, WireError
from enclave.group import GROUPS
from enclave.identity import BootIdentity
from enclave.seal import SealedStore
from enclave.secret import Secret
from enclave.threshold.dkg import KeyShare
from enclave.threshold.vss import commitments_of
from enclave.tokens import key_resource
from enclave.wire.documents import CertificateSignature, KeyHolding
from enclave.wire.message import decode_as, encode

T = TypeVar("T")

GRACE_S = 15
"""Seconds an older epoch serves requests in flight: longer than any attempt lives (threshold ECDSA: 10 s)."""


class _StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    session: bytes
    body: bytes
    held_since: int = 0
    commitments: list[bytes] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldKey:
    """One active key share."""

    certificate: KeyCertificate
    body: bytes
    session: bytes
    """Ceremony that made it."""
    index: int
    share: Secret
    held_since: int = 0
    """Unix seconds since when this node is a holder, if it was not from the start: older requests are not for it."""
    commitments: tuple[bytes, ...] = ()
    """To the sharing polynomial; empty where this node did not see them made."""

    @property
    def key_share(self) -> KeyShare:
        """The share in the form ceremonies take; the secret stays this key's."""
        facts = self.certificate
        commitments = self.commitments or commitments_of(
            GROUPS[facts.kind.group], facts.public_shares, facts.shares_needed
        )
        return KeyShare(
            secret=self.share,
            index=self.index,
            commitments=commitments,
            public_key=facts.group_point,
            public_shares=facts.public_shares,
        )

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
    """All keys of a node, mirrored in its store."""

    def __init__(self, store: SealedStore, slot: str) -> None:
        """Load everything; raises StorageError if what was sealed does not have its form."""
        self._store = store
        self._slot = slot
        self._keys: dict[str, HeldKey] = {}
        self._older: dict[str, tuple[HeldKey, int]] = {}
        """The epoch before, and until when it serves."""
        self._newest: dict[str, int] = {}
        """Key -> highest version held."""
        self._uses: Counter[bytes] = Counter()
        """Keys that each session made."""
        self.reserved: dict[str, bytes] = {}
        """`key/version` -> session of the prepared ceremony that is about it."""
        for name, value in store.items("key"):
            stored = _decode(_StoredKey, value)
            self._hold(name, stored, store.get_secret("share", name))

    def get(self, key: str, version: int, epoch: int = 0) -> HeldKey:
        """An active key, of exactly that epoch unless 0.

        Raises CallerError (`key.unknown`), RefusedError (`key.epoch`).
        """
        name = key_resource(key, version)
        held = self._keys.get(name)
        if held is None:
            raise CallerError("this node holds no share of that key and version", code="key.unknown")
        if epoch in (0, held.certificate.epoch):
            return held
        older = self._older.get(name)
        if older is not None and older[0].certificate.epoch == epoch:
            return older[0]
        raise RefusedError(
            f"this node holds epoch {held.certificate.epoch} of the key, the request is for {epoch}",
            code="key.epoch",
            hint="shares were renewed; send the request again",
        )

    def find(self, key: str, version: int) -> HeldKey | None:
        """An active key, or None."""
        return self._keys.get(key_resource(key, version))

    def newest(self, key: str) -> HeldKey:
        """The highest version of a key held here; raises CallerError (`key.unknown`)."""
        version = self._newest.get(key)
        if version is None:
            raise CallerError("this node holds no share of that key", code="key.unknown")
        return self._keys[key_resource(key, version)]

    def knows(self, key: str) -> bool:
        """Whether the id is taken, by a key or by a prepared ceremony."""
        return key in self._newest or any(known.startswith(f"{key}/") for known in self.reserved)

    def under(self, policy: str) -> Iterator[KeyCertificate]:
        """The keys that a policy is for."""
        return (held.certificate for held in self._keys.values() if held.certificate.policy == policy)

    def certificates(self) -> Iterator[KeyCertificate]:
        """Every active key."""
        return (held.certificate for held in self._keys.values())

    def made_by(self, session: bytes) -> list[HeldKey]:
        """The active keys whose shares a ceremony made."""
        if not self.rests_on(session):
            return []
        return [held for held in self._keys.values() if held.session == session]

    def rests_on(self, session: bytes) -> bool:
        """Whether a ceremony made the shares of any key held here."""
        return self._uses[session] > 0

    def by_session(self, session: bytes) -> HeldKey | None:
        """The first of the keys a ceremony made, if any."""
        return next(iter(self.made_by(session)), None)

    def replace(
        self,
        session: bytes,
        certificate: KeyCertificate,
        body: bytes,
        share: Secret,
        *,
        commitments: Sequence[bytes],
        now: int,
        held_since: int = 0,
    ) -> HeldKey:
        """Put a new epoch in the place of the one before; sealed after the store's next commit."""
        name = key_resource(certificate.key, certificate.version)
        held = self._keys.get(name)
        if held is not None:
            held_since = held.held_since
        stored = _StoredKey(session=session, body=body, held_since=held_since, commitments=list(commitments))
        self._store.put("key", name, encode(stored))
        self._store.put_secret("share", name, share)
        self._retire(name, now)
        return self._hold(name, stored, share, certificate)

    def drop(self, key: str, version: int, *, now: int) -> None:
        """Hold a key no longer; durable after the store's next commit."""
        name = key_resource(key, version)
        self._store.delete("key", name)
        self._store.delete("share", name)
        self._retire(name, now)
        versions = [held.certificate.version for held in self._keys.values() if held.certificate.key == key]
        if versions:
            self._newest[key] = max(versions)
        else:
            self._newest.pop(key, None)

    def expire(self, now: int) -> None:
        """Wipe older epochs whose time is over."""
        while self._older:
            name, (held, until) = next(iter(self._older.items()))
            if until >= now:
                break
            del self._older[name]
            held.share.wipe()

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
        """Sessions of prepared ceremonies that wait for their commit."""
        return list(dict.fromkeys(self.reserved.values()))

    def __len__(self) -> int:
        return len(self._keys)

    def wipe(self) -> None:
        """Wipe every share in memory: the node is stopping."""
        for held in (*self._keys.values(), *(held for held, _ in self._older.values())):
            held.share.wipe()
        self._keys.clear()
        self._older.clear()

    def _hold(self, name: str, stored: _StoredKey, share: Secret, certificate: KeyCertificate | None = None) -> HeldKey:
        certificate = certificate or KeyCertificate.parse(stored.body)
        own = certificate.node(self._slot)
        if own is None:
            raise StorageError("a stored key names other holders than this slot", code="storage.form")
        held = HeldKey(
            certificate=certificate,
            body=stored.body,
            session=stored.session,
            index=own.index,
            share=share,
            held_since=stored.held_since,
            commitments=tuple(stored.commitments),
        )
        self._keys[name] = held
        self._uses[stored.session] += 1
        self._newest[certificate.key] = max(certificate.version, self._newest.get(certificate.key, 0))
        return held

    def _retire(self, name: str, now: int) -> None:
        """Keep the epoch a new one replaces for requests in flight, wipe the one before that."""
        held = self._keys.pop(name, None)
        if held is None:
            return
        self._uses[held.session] -= 1
        if not self._uses[held.session]:
            del self._uses[held.session]
        before = self._older.pop(name, None)
        if before is not None:
            before[0].share.wipe()
        self._older[name] = (held, now + GRACE_S)


def stored_body(value: bytes) -> bytes:
    """The certificate body in a sealed key record; raises StorageError (`storage.form`)."""
    return _decode(_StoredKey, value).body


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
