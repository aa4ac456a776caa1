"""Drafts of the next roster: the newest one edited, not signed yet, with everything it changes told.

Rules kept: a draft continues the newest verified version and passes every rule but signatures; an edit names what it
changes, and one that changes nothing is an error.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from attestation.errors import DocumentError
from enclave.roster import PAYLOAD_TYPE, Roster
from kms.client.errors import ConfigurationError

Edit = Callable[[dict[str, Any]], None]
"""Changes a payload in place; raises ConfigurationError (`client.roster-edit`) for what is not there."""


def draft(roster: Roster, edits: list[Edit], *, now: int | None = None) -> bytes:
    """The unsigned envelope of the version after `roster`.

    Raises ConfigurationError (`client.roster-edit`), DocumentError for a roster that breaks a rule.
    """
    payload = copy.deepcopy(roster.payload())
    before = canonical_json(payload)
    for edit in edits:
        edit(payload)
    if canonical_json(payload) == before:
        raise _refused("the edits change nothing")
    payload |= {
        "version": roster.version + 1,
        "cluster": roster.cluster_id.hex(),
        "previous": roster.digest.hex(),
        "created_at": max(roster.created_at, int(time.time()) if now is None else now),
    }
    later = Roster.from_payload(payload)
    roster.require_successor(later)
    return canonical_json(Envelope.of(PAYLOAD_TYPE, later.payload()).to_json())


def read_draft(envelope: bytes) -> Roster:
    """What an envelope says, whoever signed it; raises DocumentError."""
    parsed = Envelope.parse(envelope)
    if parsed.payload_type != PAYLOAD_TYPE:
        raise DocumentError("expected a roster", code="envelope.type")
    return Roster.from_payload(parsed.value())


def merge(patch: dict[str, Any]) -> Edit:
    """A JSON merge patch (RFC 7396): members replace members, null removes, lists are replaced whole."""

    def edit(payload: dict[str, Any]) -> None:
        merged = _merged(payload, patch)
        payload.clear()
        payload.update(merged)

    return edit


def remove_slot(slot: str) -> Edit:
    """Take a place away."""
    return lambda payload: _remove(payload["slots"], "slot", slot)


def add_slot(entry: dict[str, Any]) -> Edit:
    """Add a place, as `slots` states one; one of that name is replaced."""

    def edit(payload: dict[str, Any]) -> None:
        places = [place for place in payload["slots"] if place["slot"] != entry.get("slot")]
        payload["slots"] = [*places, entry]

    return edit


def code(slot: str, register: str, value: str, *, allow: bool) -> Edit:
    """Allow or drop one value of one register, in one slot or in `all` that name the register."""

    def edit(payload: dict[str, Any]) -> None:
        places = [place for place in payload["slots"] if slot in ("all", place["slot"])]
        touched = False
        for place in places:
            values = place["measurements"].get(register)
            if values is None or (value in values) is allow:
                continue
            touched = True
            place["measurements"][register] = sorted({*values, value} if allow else {*values} - {value})
        if not touched:
            raise _refused(f"no slot {slot} where {register} {'lacks' if allow else 'has'} {value[:16]}")

    return edit


def add_operator(entry: dict[str, Any]) -> Edit:
    """Add an operator, as `operators` states one."""
    return lambda payload: payload["operators"].append(entry)


def remove_operator(operator: str) -> Edit:
    """Take an operator's key and roles away."""
    return lambda payload: _remove(payload["operators"], "operator", operator)


def quorum(action: str, number: int) -> Edit:
    """Set how many signatures an action takes."""
    return lambda payload: payload["quorum"].update({action: number})


def accept_common(dimension: str, *, accept: bool) -> Edit:
    """Say openly that a key's nodes may all share one operator or provider, or stop saying so."""

    def edit(payload: dict[str, Any]) -> None:
        held = {*payload["accept_common"]}
        payload["accept_common"] = sorted(held | {dimension} if accept else held - {dimension})

    return edit


def upgrade_delay(seconds: int) -> Edit:
    """Set how long newly admitted code waits."""
    return lambda payload: payload.update({"upgrade_delay_s": seconds})


def _remove(entries: list[dict[str, Any]], member: str, name: str) -> None:
    kept = [entry for entry in entries if entry[member] != name]
    if len(kept) == len(entries):
        raise _refused(f"the roster has no {member} {name}")
    entries[:] = kept


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _refused(detail: str) -> ConfigurationError:
    return ConfigurationError(detail, code="client.roster-edit")
