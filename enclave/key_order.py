"""The order for a new key: the body of `POST /v1/keys`, read alike by gateway and nodes (specs/key-certificates.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attestation.canonical import parse_json
from attestation.errors import CodedError, DocumentError
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.ids import check_id, check_name
from enclave.key_specs import (
    ASSEMBLERS_DEFAULT,
    ASSEMBLERS_MAX,
    NODES_MAX,
    ORDERED_SPECS,
    SHARES_NEEDED_MIN,
    SPECS,
    Custody,
    KeySpec,
    Usage,
    privacy_threshold,
)
from enclave.roster import Roster

ORDER_BYTES_MAX = 16 << 10
"""Largest order in bytes: 16 nodes and 16 labels stay below 4 KiB."""

LABELS_MAX = 16
"""Most labels of a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOrder:
    """A checked order; slots are in roster order, so that every reader numbers them alike."""

    name: str
    spec: str
    """Name of the key's kind in `enclave.key_specs.SPECS`."""
    usage: Usage
    custody: Custody
    nodes: tuple[str, ...]
    shares_needed: int
    assemblers: tuple[str, ...]
    policy: str
    labels: Mapping[str, str]
    exportable: bool = False
    """Whether a policy may ever allow the key to leave the nodes."""

    @classmethod
    def parse(cls, body: bytes, roster: Roster) -> KeyOrder:
        """Read an order against the roster's slots.

        Raises CallerError: `order.malformed`, `name.malformed`, `id.malformed`, `order.spec`,
        `order.usage`, `order.custody`, `order.nodes`, `order.shares-needed`, `order.assemblers`.
        """
        try:
            value = parse_json(body, bytes_max=ORDER_BYTES_MAX, depth_max=4)
        except DocumentError as error:
            raise CallerError(error.detail, code=error.code, hint=error.hint) from None
        fields = Fields(value, where="", error=_malformed)
        name = check_name(fields.take("name"))
        spec = _read_spec(fields)
        usage = _read_usage(fields, spec)
        custody = _read_custody(fields, spec)
        nodes = _read_slots(fields, "nodes", roster, high=NODES_MAX) or tuple(entry.slot for entry in roster.slots)
        shares_needed = _read_shares_needed(fields, spec, custody, nodes)
        order = cls(
            name=name,
            spec=spec.name,
            usage=usage,
            custody=custody,
            nodes=nodes,
            shares_needed=shares_needed,
            assemblers=_read_assemblers(fields, custody, nodes, roster),
            policy=check_id(fields.take("policy"), "pol"),
            labels=_read_labels(fields),
            exportable=fields.boolean("exportable", False),
        )
        fields.done()
        return order

    def to_json(self) -> dict[str, Any]:
        """The order with every member written out; assemblers only where there are any."""
        value: dict[str, Any] = {
            "name": self.name,
            "spec": self.spec,
            "usage": str(self.usage),
            "custody": str(self.custody),
            "nodes": list(self.nodes),
            "shares_needed": self.shares_needed,
            "policy": self.policy,
            "labels": dict(self.labels),
            "exportable": self.exportable,
        }
        return value | ({"assemblers": list(self.assemblers)} if self.assemblers else {})

    @property
    def participants(self) -> dict[int, str]:
        """Share index (from 1) -> slot."""
        return dict(enumerate(self.nodes, start=1))

    @property
    def kind(self) -> KeySpec:
        """The facts of the key's spec."""
        return SPECS[self.spec]

    @property
    def signing_quorum(self) -> int:
        """Nodes that take part in one use."""
        return self.kind.signing_quorum(self.custody, self.shares_needed)

    @property
    def privacy_threshold(self) -> int:
        """Nodes that must collude, or break, to learn the key."""
        return privacy_threshold(self.custody, self.shares_needed)


def _malformed(detail: str) -> CodedError:
    return CallerError(detail, code="order.malformed")


def _read_spec(fields: Fields) -> KeySpec:
    name = fields.take("spec")
    if not isinstance(name, str) or name not in ORDERED_SPECS:
        raise CallerError(f"expected a spec of {', '.join(ORDERED_SPECS)}", code="order.spec")
    return SPECS[name]


def _read_usage(fields: Fields, spec: KeySpec) -> Usage:
    usage = fields.take("usage", spec.usages[0] if len(spec.usages) == 1 else None)
    if usage not in list(spec.usages):
        raise CallerError(f"expected usage {' or '.join(spec.usages)} for a {spec.name} key", code="order.usage")
    return Usage(usage)


def _read_custody(fields: Fields, spec: KeySpec) -> Custody:
    custody = fields.take("custody", spec.custodies[0])
    if custody not in list(spec.custodies):
        raise CallerError(f"expected custody {' or '.join(spec.custodies)} for a {spec.name} key", code="order.custody")
    return Custody(custody)


def _read_slots(fields: Fields, name: str, roster: Roster, *, high: int) -> tuple[str, ...]:
    """The named slots in roster order; empty if the member is absent."""
    if name not in fields:
        return ()
    wanted = fields.take(name)
    known = [entry.slot for entry in roster.slots]
    valid = isinstance(wanted, list) and 1 <= len(wanted) <= high and all(isinstance(slot, str) for slot in wanted)
    if not valid or len(set(wanted)) != len(wanted) or not set(wanted) <= set(known):
        raise CallerError(f"expected 1 to {high} distinct slots of the roster", code=f"order.{name}")
    return tuple(slot for slot in known if slot in wanted)


def _read_shares_needed(fields: Fields, spec: KeySpec, custody: Custody, nodes: tuple[str, ...]) -> int:
    needed = fields.take("shares_needed", spec.shares_needed_default(custody))
    if type(needed) is not int or needed < SHARES_NEEDED_MIN:
        raise CallerError(
            f"expected an integer of at least {SHARES_NEEDED_MIN}",
            code="order.shares-needed",
            hint="with one share needed, one broken node would reveal the key",
        )
    if len(nodes) > NODES_MAX:
        raise CallerError(f"expected at most {NODES_MAX} nodes; name them", code="order.nodes")
    quorum = spec.signing_quorum(custody, needed)
    if quorum > len(nodes):
        raise CallerError(f"{needed} shares need {quorum} nodes, the key has {len(nodes)}", code="order.shares-needed")
    return needed


def _read_assemblers(fields: Fields, custody: Custody, nodes: tuple[str, ...], roster: Roster) -> tuple[str, ...]:
    named = _read_slots(fields, "assemblers", roster, high=ASSEMBLERS_MAX)
    if custody is Custody.RECONSTRUCT:
        return named or nodes[:ASSEMBLERS_DEFAULT]
    if named:
        raise CallerError(f"custody {custody} has no assemblers", code="order.assemblers")
    return ()


def _read_labels(fields: Fields) -> dict[str, str]:
    if "labels" not in fields:
        return {}
    labels = fields.mapping("labels", high=LABELS_MAX)
    for name, value in labels.items():
        try:
            check_name(name)
        except CallerError as error:
            fields.refuse(error.detail, "labels")
        if not isinstance(value, str) or len(value) > 128 or not value.isprintable():
            fields.refuse("expected texts of at most 128 printable characters", "labels")
    return labels
