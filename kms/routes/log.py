"""GET /v1/log/checkpoint, entries, proof: what nodes logged, with proofs, for auditors (specs/receipts.md)."""

from __future__ import annotations

from typing import Any

from attestation.envelope import b64url
from attestation.receipts.document import proof_to_json
from enclave.roster import Role
from enclave.tokens import Act
from kms.body import Reply
from kms.endpoint import Answer, Context, Endpoint, Parameter, reply
from kms.errors import NotFoundError, RequestError
from kms.receipts.store import LogStore, StoredLog

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
"""Entries per page: 1000 are below 1 MB."""


class HeartbeatJson(Reply, frozen=True):
    """A peer's heartbeat that echoes the head."""

    slot: str
    boot_counter: int
    body: str
    signature: str


class LogCheckpointJson(Reply, frozen=True):
    """A head as its node signed it, and the peers' countersignatures."""

    slot: str
    boot_counter: int
    size: int
    note: str
    countersignatures: list[HeartbeatJson]


class LogEntryJson(Reply, frozen=True):
    """One leaf; `entry` is null once its content was pruned."""

    index: int
    hash: str
    entry: str | None


class LogEntries(Reply, frozen=True):
    """Leaves in order; empty after the last."""

    slot: str
    boot_counter: int
    size: int
    entries: list[LogEntryJson]


class LogProof(Reply, frozen=True):
    """Hashes from lowest level up, base64url (RFC 9162 sections 2.1.3 and 2.1.4)."""

    slot: str
    boot_counter: int
    size: int
    proof: list[str]


async def checkpoint(context: Context) -> Answer:
    """The newest head, or the smallest one of at least `size` leaves."""
    _admit(context)
    size = _number(context, "size", 0)

    def work(store: LogStore) -> LogCheckpointJson:
        log = _log(context, store)
        found = store.checkpoint(log.log, above=max(0, size - 1), newest=size == 0)
        if found is None:
            raise NotFoundError("no signed head of that size is stored here", code="log.not-stored")
        return LogCheckpointJson(
            slot=log.slot,
            boot_counter=log.boot_counter,
            size=found.size,
            note=found.note.decode(),
            countersignatures=[
                HeartbeatJson(slot=peer, boot_counter=boot, body=b64url(body), signature=b64url(signature))
                for peer, boot, body, signature in found.countersignatures
            ],
        )

    return reply(await context.gateway.logs.read(work))


async def entries(context: Context) -> Answer:
    """A page of leaves."""
    _admit(context)
    start, limit = _number(context, "start", 0), _number(context, "limit", LIMIT_DEFAULT)
    if not 1 <= limit <= LIMIT_MAX:
        raise RequestError(f"expected limit of 1 to {LIMIT_MAX}", code="request.limit")

    def work(store: LogStore) -> LogEntries:
        log = _log(context, store)
        return LogEntries(
            slot=log.slot,
            boot_counter=log.boot_counter,
            size=log.size,
            entries=[
                LogEntryJson(
                    index=item.number,
                    hash=item.hash.hex(),
                    entry=b64url(item.body) if item.body is not None else None,
                )
                for item in store.entries(log.log, start, limit)
            ],
        )

    return reply(await context.gateway.logs.read(work))


async def proof(context: Context) -> Answer:
    """Inclusion of leaf `index`, or consistency from `old`, in the tree of the first `size` leaves."""
    _admit(context)
    size = _number(context, "size", 0)
    index, old = _number(context, "index", -1), _number(context, "old", -1)
    if (index < 0) == (old < 0):
        raise RequestError("expected either index or old", code="request.index")

    def work(store: LogStore) -> LogProof:
        log = _log(context, store)
        wanted = size or log.size
        if wanted > log.size or not (0 <= index < wanted or 0 < old <= wanted):
            raise NotFoundError("that part of the log is not stored here", code="log.not-stored")
        tree = store.tree(log.log)
        path = tree.inclusion_proof(index, wanted) if index >= 0 else tree.consistency_proof(old, wanted)
        return LogProof(slot=log.slot, boot_counter=log.boot_counter, size=wanted, proof=proof_to_json(path))

    return reply(await context.gateway.logs.read(work))


def _admit(context: Context) -> None:
    admissions = context.gateway.admissions
    admissions.require_role(context.caller, Role.AUDITOR, Role.ADMIN)
    admissions.require_resource(context.caller, "*")


def _log(context: Context, store: LogStore) -> StoredLog:
    """The log of `slot` and `boot`; its newest boot unless one is named."""
    slot, boot = context.query.get("slot", ""), _number(context, "boot", 0)
    found = store.log(slot, boot) if boot else store.newest(slot)
    if found is None:
        raise NotFoundError("no log of that slot and boot is stored here", code="log.not-stored")
    return found


def _number(context: Context, name: str, default: int) -> int:
    text = context.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise RequestError(f"expected a number as {name}", code=f"request.{name}")
    return int(text)


def _natural(name: str, description: str) -> Parameter:
    return Parameter(name=name, schema={"type": "integer", "minimum": 0}, description=description)


_SLOT = Parameter(name="slot", schema={"type": "string", "maxLength": 63}, description="whose log", required=True)
_BOOT = _natural("boot", "boot counter; the newest boot if absent")
_SIZE = _natural("size", "leaves of the tree; all that are stored if absent")


def _endpoint(name: str, summary: str, handler: Any, reply_type: Any, *parameters: Parameter) -> Endpoint:
    return Endpoint(
        method="GET",
        path=f"/v1/log/{name}",
        summary=summary,
        handler=handler,
        act=Act.AUDIT_READ,
        reply=reply_type,
        parameters=(_SLOT, _BOOT, *parameters),
        tag="audit",
    )


ENDPOINTS = (
    _endpoint("checkpoint", "A node's signed log head and its countersignatures", checkpoint, LogCheckpointJson, _SIZE),
    _endpoint(
        "entries",
        "Leaves of a node's log",
        entries,
        LogEntries,
        _natural("start", "number of the first leaf"),
        Parameter(
            name="limit",
            schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
            description="leaves per page",
        ),
    ),
    _endpoint(
        "proof",
        "Inclusion of one leaf, or consistency with a smaller tree",
        proof,
        LogProof,
        _SIZE,
        _natural("index", "leaf to prove"),
        _natural("old", "size of the smaller tree"),
    ),
)
