"""The signed order of a ceremony, verified by every participant before anything else (specs/ceremonies.md section 2).

Rules kept: an order names the keys with version and epoch, so that it works once; it counts under the action's quorum
of administrators of the roster and for a day at most; a refresh may be ordered by the roster itself, when it is due.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from attestation.errors import CodedError, DocumentError
from enclave.ceremonies.facts import Kind
from enclave.errors import RefusedError
from enclave.fields import Fields
from enclave.key_specs import ASSEMBLERS_MAX, NODES_MAX, SHARES_NEEDED_MIN
from enclave.roster import Role, Roster
from enclave.signing_key import SigningKey
from enclave.tokens import key_resource
from enclave.wire.ceremonies import KeySource
from enclave.wire.message import tagged

PAYLOAD_TYPE = "application/vnd.holdfast.ceremony-order+json"
DOCUMENT_TYPE = "holdfast/ceremony-order/v1"

ORDERED = (Kind.REFRESH, Kind.RESHARE, Kind.ROTATE, Kind.REPAIR)

KEYS_MAX = 256
"""Most keys one order names: 40 KiB; a client signs several for more."""

LIFETIME_S_MAX = 86_400
"""Longest validity in seconds: quorums sign on different machines, and a busy cluster takes its time."""

FUTURE_S_MAX = 60
"""How far the issue may lie ahead of this clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRef:
    """A key version in the epoch it is in."""

    key: str
    version: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CeremonyOrder:
    """What operators want done."""

    cluster: bytes
    order: str
    """Its id."""
    action: Kind
    keys: tuple[KeyRef, ...]
    """Empty only for a repair: everything the target holds by its certificates."""
    issued_at: int
    expires_at: int
    nodes: tuple[str, ...] = ()
    """Reshare: the new holders."""
    shares_needed: int | None = None
    """Reshare: the new T."""
    assemblers: tuple[str, ...] = ()
    """Reshare of reconstruct keys: who may assemble from then on."""
    target: str | None = None
    """Repair: the slot that gets its shares back."""

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        value: dict[str, Any] = {
            "type": DOCUMENT_TYPE,
            "cluster": self.cluster.hex(),
            "order": self.order,
            "action": str(self.action),
            "keys": [{"key": item.key, "version": item.version, "epoch": item.epoch} for item in self.keys],
            "issued_at": self.issued_at,
            "expires_at": self.expires_at,
        }
        if self.action is Kind.RESHARE:
            value |= {"nodes": list(self.nodes), "shares_needed": self.shares_needed}
            if self.assemblers:
                value["assemblers"] = list(self.assemblers)
        if self.action is Kind.REPAIR:
            value["target"] = self.target
        return value

    def sign(self, *signers: SigningKey) -> bytes:
        """The signed envelope."""
        envelope = Envelope.of(PAYLOAD_TYPE, self.payload())
        for signer in signers:
            envelope = envelope.signed(signer.ed25519)
        return canonical_json(envelope.to_json())

    def covers(self, sources: list[KeySource]) -> bool:
        """Whether these keys in these epochs are among those ordered."""
        named = {(item.key, item.version, item.epoch) for item in self.keys}
        whole = self.action is Kind.REPAIR and not named
        return whole or {(item.key, item.version, item.epoch) for item in sources} <= named


def read_order(envelope: bytes) -> tuple[CeremonyOrder, Envelope]:
    """An order without any check of who signed it; raises DocumentError (`order.malformed`, envelope codes)."""
    signed = Envelope.parse(envelope)
    if signed.payload_type != PAYLOAD_TYPE:
        raise DocumentError(f"expected {PAYLOAD_TYPE}", code="envelope.type")
    fields = Fields(signed.value(), where="", error=_malformed)
    fields.constant("type", DOCUMENT_TYPE)
    action = Kind(fields.choice("action", [str(kind) for kind in ORDERED]))
    is_reshare = action is Kind.RESHARE
    order = CeremonyOrder(
        cluster=fields.hexadecimal("cluster", size=32),
        order=fields.identifier("order", "op"),
        action=action,
        keys=tuple(
            _read_key(item) for item in fields.each("keys", low=0 if action is Kind.REPAIR else 1, high=KEYS_MAX)
        ),
        issued_at=fields.integer("issued_at"),
        expires_at=fields.integer("expires_at"),
        nodes=fields.texts("nodes", low=1, high=NODES_MAX) if is_reshare else (),
        shares_needed=fields.integer("shares_needed", SHARES_NEEDED_MIN, NODES_MAX) if is_reshare else None,
        assemblers=fields.texts("assemblers", high=ASSEMBLERS_MAX) if is_reshare and "assemblers" in fields else (),
        target=fields.label("target") if action is Kind.REPAIR else None,
    )
    fields.done()
    names = {key_resource(item.key, item.version) for item in order.keys}
    if len(names) != len(order.keys) or len(set(order.nodes)) != len(order.nodes):
        fields.refuse("expected distinct keys and distinct nodes", "keys")
    return order, signed


def verify_order(envelope: bytes, roster: Roster, now: int) -> tuple[CeremonyOrder, bytes]:
    """The order and its digest (32 bytes), once the roster's quorum for its action signed it.

    Raises DocumentError (`order.malformed`, `document.cluster`, envelope codes), RefusedError (`order.quorum`,
    `order.expired`).
    """
    order, signed = read_order(envelope)
    if order.cluster != roster.cluster_id:
        raise DocumentError("order is for another cluster", code="document.cluster")
    found = len(signed.signers(entry.key for entry in roster.holders(Role.ADMIN)))
    needed = roster.quorum_for(order.action)
    if found < needed:
        raise RefusedError(
            f"expected signatures of {needed} administrators for a {order.action}, found {found}",
            code="order.quorum",
            hint="`kms documents cosign` adds a signature",
        )
    in_time = order.issued_at - FUTURE_S_MAX <= now < order.expires_at <= order.issued_at + LIFETIME_S_MAX
    if not in_time:
        raise RefusedError("the order is not valid now", code="order.expired", hint="sign a fresh one")
    return order, signed.digest


def schedule_digest(roster: Roster) -> bytes:
    """What stands for an order where the roster orders a refresh."""
    return hashlib.sha256(tagged("roster-schedule", roster.digest)).digest()


def check_due(roster: Roster, since: int, now: int) -> None:
    """Raise RefusedError (`order.not-due`) unless the roster's schedule wants a key of that age refreshed by now."""
    terms = roster.refresh
    if terms is None or now < since + terms.interval_s - terms.spread_s:
        raise RefusedError("the roster's schedule does not ask for it yet", code="order.not-due", hint="sign an order")


def _malformed(detail: str) -> CodedError:
    return DocumentError(detail, code="order.malformed")


def _read_key(fields: Fields) -> KeyRef:
    ref = KeyRef(
        key=fields.identifier("key", "key", "sec"),
        version=fields.integer("version", 1, 999_999_999),
        epoch=fields.integer("epoch", 1),
    )
    fields.done()
    return ref
