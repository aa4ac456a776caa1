"""Shares of imports that wait for every holder's acceptance: sealed on disk, never used, never shown.

Rules kept: what a node has accepted survives a restart; one key is not imported twice; a share becomes a key only by
`activate` (specs/import-export.md section 4).
"""

from __future__ import annotations

from collections.abc import Iterator

from enclave.certificate import KeyCertificate
from enclave.errors import RefusedError, StorageError, WireError
from enclave.keys import HeldKey, KeyTable
from enclave.seal import SealedStore
from enclave.secret import Secret
from enclave.wire.message import Message, decode_as, encode

PENDING_MAX = 64
"""Accepted imports without a commit; each cost an administrator's signature, so more means a fault."""

PENDING_S = 86_400
"""How long an accepted share waits for its commit, in seconds: whoever can deliver it does so within a day."""

RECORD, SHARE, WRAPPED = "import", "import-share", "wrapped-key"


class PendingImport(Message, frozen=True):
    """What is kept beside a pending share."""

    body: bytes
    """Certificate body that the holders are about to sign."""
    wrapped: bytes
    accepted_at: int


class PendingImports:
    """The pending imports of a node, on disk only."""

    def __init__(self, store: SealedStore) -> None:
        self._store = store

    def find(self, transcript: bytes) -> PendingImport | None:
        """The pending import with this transcript, if any."""
        value = self._store.get(RECORD, transcript.hex())
        return None if value is None else _decode(value)

    def knows(self, key: str) -> bool:
        """Whether a pending import has taken the id."""
        return any(KeyCertificate.parse(record.body).key == key for _, record in self._records())

    def all(self) -> list[PendingImport]:
        """Every pending import."""
        return [record for _, record in self._records()]

    def add(self, certificate: KeyCertificate, wrapped: bytes, share: Secret, now: int) -> None:
        """Seal a checked share until its commit; raises RefusedError (`import.unresolved`), StorageError."""
        records = list(self._records())
        for name, record in records:
            if record.accepted_at + PENDING_S < now:
                self._drop(name)
        if sum(record.accepted_at + PENDING_S >= now for _, record in records) >= PENDING_MAX:
            raise RefusedError("too many imports wait for their commit", code="import.unresolved")
        name = certificate.transcript.hex()
        record = PendingImport(body=certificate.body(), wrapped=wrapped, accepted_at=now)
        self._store.put(RECORD, name, encode(record))
        self._store.put_secret(SHARE, name, share)

    def activate(self, pending: PendingImport, keys: KeyTable) -> HeldKey:
        """Make the pending share a key; it is on disk when this returns.  Raises StorageError."""
        certificate = KeyCertificate.parse(pending.body)
        name = certificate.transcript.hex()
        share = self._store.get_secret(SHARE, name)
        if pending.wrapped:
            self._store.put(WRAPPED, certificate.key, pending.wrapped)
        self._drop(name)
        return keys.adopt(certificate.transcript, pending.body, share)

    def _records(self) -> Iterator[tuple[str, PendingImport]]:
        return ((name, _decode(value)) for name, value in self._store.items(RECORD))

    def _drop(self, name: str) -> None:
        self._store.delete(RECORD, name)
        self._store.delete(SHARE, name)


def check_unknown(keys: KeyTable, certificate: KeyCertificate) -> None:
    """Raises RefusedError (`import.duplicate`) if this node holds a share of the same private key already."""
    wanted = _points(certificate)
    for held in keys.certificates():
        if wanted & _points(held):
            raise RefusedError(
                f"{held.key} is this key already",
                code="import.duplicate",
                hint="one key has one policy: change the policy of the key that is there",
            )


def _points(certificate: KeyCertificate) -> set[bytes]:
    """What two certificates of one private key have in common; secp256k1 points without their sign."""
    points = {certificate.public_key, certificate.group_key or b""} - {b""}
    return {point[1:] if len(point) == 33 else point for point in points}


def _decode(value: bytes) -> PendingImport:
    try:
        return decode_as(PendingImport, value)
    except WireError:
        raise StorageError("a sealed record does not have its form", code="storage.form") from None
