"""Prepared ceremonies at rest: sealed before the prepare leaves, ended only by a certificate.

Rules kept (specs/ceremonies.md section 5): one sealed record per session, with all its shares, is written in one
transaction; a key version is in at most one prepared session; a commit certificate is sealed before any old share
goes; an interrupted commit is finished at the next start; no timer deletes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from enclave.ceremonies.facts import Kind, Member
from enclave.ceremonies.steps import Effect, Outcome, Work
from enclave.certificate import KeyCertificate
from enclave.errors import RefusedError, StorageError, WireError
from enclave.keys import KeyTable
from enclave.seal import SealedStore
from enclave.secret import Secret
from enclave.tokens import key_resource
from enclave.wire.ceremonies import CeremonyMessage
from enclave.wire.message import Message, decode_as, encode

T = TypeVar("T")

PENDING_MAX = 256
"""Prepared ceremonies without a certificate; each cost an operator's signature, so more means a fault."""

UNRESOLVED_S = 600
"""Seconds after its prepare from which a node uses a key no longer while nobody brings a certificate."""

SHARE_BYTES = 32

PREPARED, COMMITTED, ABORTED = "prepared", "committed", "aborted"

RECORD, SHARES, DONE, REFUSED = "ceremony", "ceremony-shares", "ceremony-done", "ceremony-abort"
"""Kinds of rows: what waits, its shares, commit certificates that keys rest on, own aborts."""

KEYS_PER_COMMIT = 64
"""Keys switched to the new epoch between two writes to the disk: about ten milliseconds, as long as the write takes."""

LIMITS = "limits"
"""Kind of extras that are not rows of their own: an old holder's nonces and budgets."""


class Entry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One key version of a session; `position` is its share's place among the sealed shares, -1 for none."""

    key: str
    version: int
    source_epoch: int
    effect: Effect
    position: int
    body: bytes
    commitments: list[bytes]

    @property
    def name(self) -> str:
        """`key/version`."""
        return key_resource(self.key, self.version)


class Record(Message, frozen=True):
    """What is sealed at the prepare: enough to judge a certificate after a restart."""

    session: bytes
    kind: Kind
    state: str
    prepared_at: int
    activates_at: int
    """Latest clock of the participants: since when the shares count."""
    members: list[Member]
    prepare_round: int
    statement: bytes
    inputs: bytes
    """Digest of the messages it was computed from."""
    message: CeremonyMessage
    """Own prepare."""
    entries: list[Entry]
    extras: dict[str, bytes]
    halts: list[str]
    """`key/version` of the keys that are not used before the certificate comes."""
    certificate: list[CeremonyMessage] = []  # noqa: RUF012  msgspec copies defaults


class Finished(Message, frozen=True):
    """What is kept of a committed session while keys rest on it."""

    kind: Kind
    names: list[str]
    certificate: list[CeremonyMessage]


class PendingTable:
    """Every prepared session of a node, mirrored in its store."""

    def __init__(self, store: SealedStore, keys: KeyTable) -> None:
        """Load what waits; `recover` finishes interrupted commits.  Raises StorageError."""
        self._store = store
        self._keys = keys
        self._records: dict[bytes, Record] = {}
        self._computed: dict[bytes, dict[bytes, KeyCertificate]] = {}
        """Certificates of sessions prepared in this boot, by body, to spare reading them again."""
        self._adopt: Callable[[bytes], None] = lambda table: None  # noqa: ARG005
        for _, value in list(store.items(RECORD)):
            record = _decode(Record, value)
            self._records[record.session] = record
            if record.state == PREPARED:
                self._reserve(record)

    def recover(self, adopt: Callable[[bytes], None]) -> None:
        """Finish commits that were interrupted; `adopt` takes the limits that come with a reshare."""
        self._adopt = adopt
        for record in [record for record in self._records.values() if record.state == COMMITTED]:
            for _ in self._apply(record, record.activates_at):
                pass
            self._store.commit()

    def get(self, session: bytes) -> Record | None:
        """What waits of a session, if anything."""
        return self._records.get(session)

    def finished(self, session: bytes) -> Finished | None:
        """What is kept of a committed session, if anything."""
        value = self._store.get(DONE, session.hex())
        return None if value is None else _decode(Finished, value)

    def refusal(self, session: bytes) -> CeremonyMessage | None:
        """The abort this node gave for a session, if any."""
        value = self._store.get(REFUSED, session.hex())
        return None if value is None else _decode(CeremonyMessage, value)

    def holder(self, key: str, version: int) -> Record | None:
        """The prepared session that a key version waits for, if any."""
        session = self._keys.reserved.get(key_resource(key, version))
        return None if session is None else self._records[session]

    def overdue(self, now: int) -> Iterator[Record]:
        """Prepared sessions that nobody resolved in time."""
        return (
            record
            for record in self._records.values()
            if record.state == PREPARED and now - record.prepared_at > UNRESOLVED_S
        )

    def refuse(self, session: bytes, message: CeremonyMessage) -> None:
        """Write down the own abort: it is on disk when this returns, and the session can never be prepared."""
        self._store.put(REFUSED, session.hex(), encode(message))
        self._store.commit()

    def forget_refusals(self, boot_counter: int) -> None:
        """Drop aborts of earlier boots: nothing of theirs can be prepared any more."""
        for name, value in list(self._store.items(REFUSED)):
            if _decode(CeremonyMessage, value).boot_counter < boot_counter:
                self._store.delete(REFUSED, name)

    def check_free(self, names: Sequence[str]) -> None:
        """Raise RefusedError (`ceremony.unresolved`) if one of `key/version` waits for a certificate already."""
        if len(self._records) >= PENDING_MAX:
            raise RefusedError("too many ceremonies wait for their certificate", code="ceremony.unresolved")
        if any(name in self._keys.reserved for name in names):
            raise RefusedError(
                "an earlier ceremony of this key has no certificate yet",
                code="ceremony.unresolved",
                hint="deliver its commit or abort certificate first; the gateway does so by itself",
            )

    def prepare(self, record: Record, outcome: Outcome) -> None:
        """Seal a session with its shares; it is on disk when this returns.  Raises RefusedError, StorageError."""
        self.check_free([entry.name for entry in record.entries])
        self._check_sources(record)
        if self.refusal(record.session) is not None:
            raise RefusedError("this node has aborted the session", code="ceremony.aborted")
        name = record.session.hex()
        shares = [result.share for result in outcome.results if result.share is not None]
        self._store.put(RECORD, name, encode(record))
        if shares:
            with _joined(shares) as bundle:
                self._store.put_secret(SHARES, name, bundle)
        self._store.commit()
        # Seam: a witnessed counter is advanced here, before the prepare may leave.
        self._records[record.session] = record
        self._computed[record.session] = {result.body: result.certificate for result in outcome.results}
        self._reserve(record)

    def commit(self, session: bytes, certificate: Sequence[CeremonyMessage], now: int) -> Work[None]:
        """Seal the commit certificate, then switch every key; repeating goes on where an earlier try was cut off.

        Raises RefusedError (`key.epoch`, `ceremony.unresolved`) where an aborted session comes too late.
        """
        record = self._records[session]
        if record.state == ABORTED:
            self._check_revivable(record)
        if record.state != COMMITTED:
            record = msgspec.structs.replace(record, state=COMMITTED, certificate=list(certificate))
            self._store.put(RECORD, session.hex(), encode(record))
            self._store.commit()
            self._records[session] = record
        yield from self._apply(record, now)
        self._store.commit()

    def discard(self, session: bytes, message: CeremonyMessage) -> None:
        """Take an abort certificate: the keys are free again.  It is on disk when this returns.

        Shares of a key that lives stay sealed beside the certificate until its next commit, so that a participant who
        signed prepare and abort cannot leave some nodes in the old and some in the new epoch for good.
        """
        record = self._records[session]
        if record.state != PREPARED:
            return
        self._release(record)
        if all(entry.source_epoch == 0 for entry in record.entries):
            self._erase(record)
        else:
            record = msgspec.structs.replace(record, state=ABORTED, certificate=[message])
            self._store.put(RECORD, session.hex(), encode(record))
            self._records[session] = record
        self._store.commit()

    def _apply(self, record: Record, now: int) -> Work[None]:
        """Switch what has not been switched yet, then leave only the certificate."""
        name = record.session.hex()
        held = any(entry.position >= 0 for entry in record.entries)
        shares = self._store.get_secret(SHARES, name) if held else None
        try:
            for count, entry in enumerate(record.entries, start=1):
                self._switch(record, entry, shares, now)
                if count % KEYS_PER_COMMIT == 0 and count < len(record.entries):
                    # Written out before others get their turn: else every request meanwhile would wait for the disk.
                    self._store.commit()
                    yield
        finally:
            if shares is not None:
                shares.wipe()
        if record.session not in self._records:
            return  # another run of the same commit was quicker
        for kind_and_id, value in record.extras.items():
            kind, _, row = kind_and_id.partition("/")
            if kind == LIMITS:
                self._adopt(value)
            else:
                self._store.put(kind, row, value)
        self._release(record)
        self._supersede(record)
        self._erase(record)
        finished = Finished(
            kind=record.kind, names=[entry.name for entry in record.entries], certificate=record.certificate
        )
        self._store.put(DONE, name, encode(finished))

    def _switch(self, record: Record, entry: Entry, shares: Secret | None, now: int) -> None:
        held = self._keys.find(entry.key, entry.version)
        if entry.effect is Effect.DROP and held is not None and held.certificate.epoch == entry.source_epoch:
            self._keys.drop(entry.key, entry.version, now=now)
            self._unused(held.session, besides=record.session)
        if entry.effect is not Effect.HOLD or shares is None or (held is not None and held.body == entry.body):
            return
        certificate = self._computed.get(record.session, {}).get(entry.body) or KeyCertificate.parse(entry.body)
        share = shares.part(entry.position * SHARE_BYTES, SHARE_BYTES)
        since = record.activates_at if held is None and entry.source_epoch else 0
        self._keys.replace(
            record.session,
            certificate,
            entry.body,
            share,
            commitments=entry.commitments,
            now=now,
            held_since=since,
        )
        if held is not None:
            self._unused(held.session, besides=record.session)

    def _unused(self, session: bytes, *, besides: bytes) -> None:
        """Drop the certificate of a session that no key rests on any more."""
        if session != besides and not self._keys.rests_on(session):
            self._store.delete(DONE, session.hex())

    def _supersede(self, record: Record) -> None:
        """Erase aborted sessions about the same keys: nothing may bring them back now."""
        names = {entry.name for entry in record.entries}
        for other in list(self._records.values()):
            if other.state == ABORTED and names & {entry.name for entry in other.entries}:
                self._erase(other)

    def _check_revivable(self, record: Record) -> None:
        self.check_free([entry.name for entry in record.entries])
        self._check_sources(record)

    def _check_sources(self, record: Record) -> None:
        """Raise RefusedError (`key.exists`, `key.epoch`) if a key has moved on since the session began."""
        for entry in record.entries:
            held = self._keys.find(entry.key, entry.version)
            if held is None or held.certificate.epoch == entry.source_epoch:
                continue
            if entry.source_epoch == 0:
                raise RefusedError("this order has made a key already", code="key.exists", hint="sign a fresh order")
            raise RefusedError(f"{entry.name} is at epoch {held.certificate.epoch} already", code="key.epoch")

    def _erase(self, record: Record) -> None:
        self._store.delete(RECORD, record.session.hex())
        self._store.delete(SHARES, record.session.hex())
        self._records.pop(record.session, None)
        self._computed.pop(record.session, None)

    def _reserve(self, record: Record) -> None:
        for entry in record.entries:
            self._keys.reserved[entry.name] = record.session

    def _release(self, record: Record) -> None:
        for entry in record.entries:
            if self._keys.reserved.get(entry.name) == record.session:
                del self._keys.reserved[entry.name]


def _joined(shares: Sequence[Secret]) -> Secret:
    """All shares of a session in one secret, sealed as one value."""
    bundle = Secret.zero(SHARE_BYTES * len(shares))
    with bundle.view as target:
        for number, share in enumerate(shares):
            with share.view as source:
                target[number * SHARE_BYTES : (number + 1) * SHARE_BYTES] = source
    return bundle


def _decode(kind: type[T], value: bytes) -> T:
    try:
        return decode_as(kind, value)
    except WireError:
        raise StorageError("a sealed record does not have its form", code="storage.form") from None
