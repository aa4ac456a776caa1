"""What a node remembers of requests that wait for people: parked, granted for execution, ended for good.

Rules kept: parked and ended requests are on disk before anything is answered, so a restart forgets neither; a
request ends once - executed, rejected or cancelled - and an execution belongs to the one connection that began it
within one minute, so that retries are possible there and nowhere else; full means refuse, never forget.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from enclave.errors import RefusedError, StorageError
from enclave.seal import SealedStore

PARKED, ENDED = "parked", "ended"
"""Kinds of rows in the sealed store."""

EXECUTED, REJECTED, CANCELLED = "executed", "rejected", "cancelled"

GRANT_S = 60
"""How long an approved request may be executed once all is verified: as long as a token lives."""

PARKED_MAX = 10_000
PARKED_PER_ISSUER_MAX = 256
"""Requests of one agent that wait: people cannot read more."""

ENDED_MAX = 100_000
GRANTS_MAX = 10_000

SWEEP_S = 60
"""How often rows whose time is over are looked for, in seconds."""

REMEMBERED_S = 86_400
"""How long an end is remembered beyond the operation's own expiry: a clock set back by less changes nothing."""


Row = TypeVar("Row")


class ParkedRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A request this node verified."""

    fingerprint: bytes
    received_at: int
    expires_at: int
    issuer: str
    group: str
    minimum: int
    policy: str
    policy_version: int


class EndedRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """How a request ended."""

    how: str
    expires_at: int


@dataclass(slots=True, kw_only=True)
class Grant:
    """A request that may be executed now; approvals are counted again at every use."""

    request_id: bytes
    fingerprint: bytes
    policy: str
    policy_version: int
    approvals: tuple[tuple[str, str], ...]
    """(approver, key id) whose signatures verified."""
    received_at: int
    """When the first node verified the token, Unix seconds."""
    until: int
    expires_at: int
    is_executing: bool = False


class ApprovalBook:
    """All of a node's waiting requests."""

    def __init__(self, store: SealedStore) -> None:
        """Load what is sealed; raises StorageError if a row does not have its form."""
        self._store = store
        self._parked = _rows(store, PARKED, ParkedRow)
        self._ended = _rows(store, ENDED, EndedRow)
        self._issuers = Counter(row.issuer for row in self._parked.values())
        self._grants: dict[tuple[int, bytes], Grant] = {}
        self._sweep_at = 0

    def park(self, request_id: bytes, row: ParkedRow, now: int) -> ParkedRow:
        """Remember a verified request; the same one again changes nothing.

        Raises RefusedError (`approval.full`, and as `check_open`).
        """
        self.check_open(request_id)
        held = self._parked.get(request_id)
        if held is not None and (held.fingerprint, held.expires_at) == (row.fingerprint, row.expires_at):
            return held
        self._expire(now)
        if held is None and (len(self._parked) >= PARKED_MAX or self._issuers[row.issuer] >= PARKED_PER_ISSUER_MAX):
            raise RefusedError("too many requests wait for approvals", code="approval.full")
        if held is not None:
            self._forget(request_id)
        self._store.put(PARKED, request_id.hex(), msgspec.msgpack.encode(row))
        self._parked[request_id] = row
        self._issuers[row.issuer] += 1
        return row

    def parked(self, request_id: bytes, now: int) -> ParkedRow:
        """A request that waits; raises RefusedError (`approval.unknown`, `approval.expired`, and as `check_open`)."""
        self.check_open(request_id)
        row = self._parked.get(request_id)
        if row is None:
            raise RefusedError("this node did not see that request while its token lived", code="approval.unknown")
        check_time(row.expires_at, now)
        return row

    def end(self, request_id: bytes, how: str, *, expires_at: int, now: int) -> None:
        """Write down that a request ended; durable after the store's next commit.  Raises RefusedError."""
        self._expire(now)
        if len(self._ended) >= ENDED_MAX:
            raise RefusedError("this node remembers too many ended operations", code="approval.full")
        row = EndedRow(how=how, expires_at=expires_at)
        self._store.put(ENDED, request_id.hex(), msgspec.msgpack.encode(row))
        self._ended[request_id] = row
        self._forget(request_id)

    def check_open(self, request_id: bytes) -> None:
        """Raise RefusedError (`approval.used`, `approval.rejected`, `approval.cancelled`) once it has ended."""
        row = self._ended.get(request_id)
        if row is None:
            return
        code = {REJECTED: "approval.rejected", CANCELLED: "approval.cancelled"}.get(row.how, "approval.used")
        raise RefusedError(f"the operation was {row.how} already", code=code, hint="send a new request")

    def grant(self, connection: int, token: str, grant: Grant, now: int) -> Grant:
        """Let a verified and approved request be executed over this connection; raises RefusedError as `check_open`.

        A request being executed there stays so, with its own end.
        """
        name = (connection, _token_digest(token))
        held = self._grants.get(name)
        if held is not None and held.is_executing and now <= held.until:
            return held
        self.check_open(grant.request_id)
        for over in [name for name, one in self._grants.items() if now > one.until]:
            del self._grants[over]
        if len(self._grants) >= GRANTS_MAX:
            raise RefusedError("too many approved requests within one minute", code="approval.full")
        self._grants[name] = grant
        return grant

    def granted(self, connection: int, token: str, now: int) -> Grant | None:
        """The grant of exactly this token over this connection, if there is one."""
        if not self._grants:
            return None
        found = self._grants.get((connection, _token_digest(token)))
        return found if found is not None and now <= found.until else None

    def begin(self, grant: Grant, now: int) -> None:
        """The last step before a share is touched: from here on the request is used up everywhere but here.

        Raises RefusedError as `check_open` and `end`.
        """
        if grant.is_executing:
            return
        self.check_open(grant.request_id)
        self.end(grant.request_id, EXECUTED, expires_at=grant.expires_at, now=now)
        grant.is_executing = True

    def disconnect(self, connection: int) -> None:
        """Forget what could be executed over a connection that is gone."""
        for name in [name for name in self._grants if name[0] == connection]:
            del self._grants[name]

    def _expire(self, now: int) -> None:
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP_S
        for request_id in [name for name, row in self._parked.items() if now >= row.expires_at]:
            self._forget(request_id)
        for request_id in [name for name, row in self._ended.items() if now >= row.expires_at + REMEMBERED_S]:
            self._store.delete(ENDED, request_id.hex())
            del self._ended[request_id]

    def _forget(self, request_id: bytes) -> None:
        row = self._parked.pop(request_id, None)
        if row is not None:
            self._store.delete(PARKED, request_id.hex())
            self._issuers[row.issuer] -= 1
            self._issuers += Counter()  # drops zeros


def check_time(expires_at: int, now: int) -> None:
    """Raise RefusedError (`approval.expired`) from the operation's end on."""
    if now >= expires_at:
        raise RefusedError("the time for approvals is over", code="approval.expired", hint="send the request again")


def _token_digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _rows(store: SealedStore, kind: str, form: type[Row]) -> dict[bytes, Row]:
    decoder = msgspec.msgpack.Decoder(form)
    try:
        return {bytes.fromhex(name): decoder.decode(value) for name, value in store.items(kind)}
    except (ValueError, msgspec.DecodeError):
        raise StorageError(f"a row of kind {kind} does not have its form", code="storage.form") from None
