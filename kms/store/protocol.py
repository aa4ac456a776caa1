"""What the gateway asks of its database: business verbs, each one durable transaction (specs/gateway-store.md).

Rules: a write has reached the disk when its call returns; a response that holds a plaintext is never
handed to the store; nothing here can sign, decrypt or authorise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from kms.audit import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """One authorised request about to be executed."""

    principal: str
    idempotency_key: str
    fingerprint: bytes
    """32 bytes over method, path and body: tells a repeat from another request under the same key."""
    intent: dict[str, Any]
    """The audit entry written in the same transaction."""
    now: int
    expires_at: int
    """Unix seconds after which the record may be forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Go on and execute; `again` marks a repeat whose response was not kept or never reached."""

    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The stored response of an identical earlier request."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The outcome of an admitted request."""

    principal: str
    idempotency_key: str
    status: int
    body: bytes | None
    """The response to repeat; None keeps none: for plaintext, where only `digest` and status stay."""
    digest: bytes
    """SHA-256 of the response."""
    keep: bool
    """False forgets the record, so that the request may be tried again (refusals and outages)."""
    result: dict[str, Any]
    """The audit entry written in the same transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """One version of a signed control document: `envelope` is the exact JSON received."""

    kind: str
    subject: str
    version: int
    digest: bytes
    envelope: bytes
    received_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """One key as its nodes certified it."""

    key: str
    name: str
    spec: str
    usage: str
    policy: str
    record: bytes
    """Msgpack of kms.keys.KeyRecord."""
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCeremony:
    """A ceremony whose participants have all prepared: anybody may deliver `commit` to them again."""

    session: bytes
    reference: str
    """Principal and idempotency key of the request: whoever repeats it gets this key, not another."""
    key: str
    commit: bytes
    """Msgpack of the final enclave.wire.ceremonies.CeremonyRound."""
    order: bytes
    """Msgpack of what becomes the key's record once the nodes certify it (no credential)."""
    finished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOperation:
    """Something that outlives the request it began with (specs/operations.md)."""

    operation: str
    """`op_...`, derived from the request that began it."""
    kind: str
    """What it does: `approval`, or the name of a ceremony."""
    principal: str
    resource: str
    state: str
    """One of kms.operations.State."""
    created_at: int
    updated_at: int
    expires_at: int
    """Unix seconds after which it is not begun any more."""
    details: bytes = b""
    """What the kind needs to go on after a restart; no plaintext."""
    status: int | None = None
    """HTTP status of the result, once there is one."""
    result: bytes | None = None
    """The response or the problem; None also where it held a plaintext."""


class Store(Protocol):
    """The dozen verbs; every engine passes tests.kms.store_contract."""

    @property
    def audit_position(self) -> int:
        """Sequence of the audit chain's newest link, 0 before the first."""

    @property
    def audit_head(self) -> bytes:
        """Hash of the audit chain's newest link, 32 bytes."""

    async def recover(self, *, now: int) -> int:
        """Close what an earlier process left open: its requests in flight, counted, get an audit entry."""

    async def admit(self, admission: Admission) -> Admitted | Replay:
        """Take a request on, with its audit intent, or give the stored response of an identical one.

        Raises ConflictError: `idempotency.in-flight`, `idempotency.other-request`.
        """

    async def settle(self, settlement: Settlement) -> None:
        """Record the outcome with its audit entry."""

    async def put_document(self, document: StoredDocument, audit: dict[str, Any]) -> bool:
        """Keep a document; False if this very one is already there.

        Raises ConflictError (`document.stale`) unless its version is above the newest of its subject.
        """

    async def document(self, kind: str, subject: str) -> StoredDocument | None:
        """The newest version of a document."""

    async def documents(self) -> list[StoredDocument]:
        """The newest version of every document, oldest receipt first."""

    async def put_ceremony(self, ceremony: StoredCeremony) -> None:
        """Keep the commit of a prepared ceremony before it is sent."""

    async def ceremony(self, session: bytes) -> StoredCeremony | None:
        """A ceremony by its session id."""

    async def ceremony_for(self, reference: str) -> StoredCeremony | None:
        """The ceremony that an earlier try of the same request brought to its commit."""

    async def unfinished(self) -> list[StoredCeremony]:
        """Ceremonies that have their commit and no certified key yet."""

    async def put_key(self, key: StoredKey, *, session: bytes | None = None) -> None:
        """Keep a certified key, new or certified again, and finish the ceremony that made it."""

    async def key(self, key: str) -> StoredKey | None:
        """One key."""

    async def key_policy(self, key: str) -> str | None:
        """The policy of a key, which decides who may know of it; as much work if there is no such key."""

    async def keys(self, *, after: str, limit: int) -> list[StoredKey]:
        """Keys with ids above `after`, in the order of ids."""

    async def put_operation(self, operation: StoredOperation, audit: dict[str, Any]) -> bool:
        """Keep a new operation; False, and nothing changes, if its id is there already."""

    async def change_operation(
        self, operation: StoredOperation, *, expected: frozenset[str], audit: dict[str, Any] | None
    ) -> bool:
        """Replace an operation that is in one of the states `expected`; False, and nothing changes, if it is not."""

    async def operation(self, operation: str) -> StoredOperation | None:
        """One operation."""

    async def operations(
        self, *, after: str, limit: int, principal: str | None = None, states: frozenset[str] = frozenset()
    ) -> list[StoredOperation]:
        """Operations with ids above `after` by id, of one principal and in some states only if these are given."""

    async def append_audit(self, value: dict[str, Any]) -> Entry:
        """Link one more entry to the chain."""

    async def audit(self, *, after: int, limit: int) -> list[Entry]:
        """Entries with sequence numbers above `after`, in order."""

    async def close(self) -> None:
        """Finish what was handed over, then close."""
