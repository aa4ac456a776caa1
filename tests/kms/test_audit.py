"""The audit chain shows every later change: an edited, removed, moved, added or cut entry."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.canonical import canonical_json
from kms.audit import GENESIS, Entry, verify_chain
from kms.errors import AuditError


def chain(length: int) -> list[Entry]:
    """A valid chain."""
    entries: list[Entry] = []
    head = GENESIS
    for sequence in range(1, length + 1):
        entries.append(Entry.after(sequence, head, {"kind": "result", "n": sequence}))
        head = entries[-1].hash
    return entries


def served(entries: list[Entry]) -> list[dict[str, Any]]:
    """The entries as an auditor downloads them."""
    return [entry.to_json() for entry in entries]


def test_valid_chain_gives_its_last_link() -> None:
    """Verification returns where the chain ends, and goes on from there."""
    entries = chain(5)
    assert verify_chain(entries[:3]) == (3, entries[2].hash)
    assert verify_chain(entries[3:], sequence=3, head=entries[2].hash) == (5, entries[4].hash)


def test_served_form_verifies_offline() -> None:
    """The JSON an auditor stored is enough to check the chain."""
    text = json.dumps(served(chain(4)))
    assert verify_chain(Entry.from_json(value) for value in json.loads(text))[0] == 4


def edited(values: list[dict[str, Any]]) -> None:
    """One member of an entry changes."""
    values[1]["entry"]["n"] = 7


def removed(values: list[dict[str, Any]]) -> None:
    """An entry is taken out."""
    del values[1]


def swapped(values: list[dict[str, Any]]) -> None:
    """Two entries change places."""
    values[1]["entry"], values[2]["entry"] = values[2]["entry"], values[1]["entry"]


def rehashed(values: list[dict[str, Any]]) -> None:
    """An entry is replaced and hashed correctly."""
    forged = Entry.after(2, bytes.fromhex(values[1]["previous"]), {"kind": "result", "n": 99})
    values[1] = forged.to_json()


def renumbered(values: list[dict[str, Any]]) -> None:
    """An entry is taken out and the rest numbered anew."""
    del values[1]
    for sequence, value in enumerate(values, 1):
        value["sequence"] = sequence


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (edited, "audit.broken"),
        (removed, "audit.gap"),
        (swapped, "audit.broken"),
        (rehashed, "audit.broken"),
        (renumbered, "audit.broken"),
    ],
)
def test_tampering_is_detected(tamper: Any, code: str) -> None:
    """Each way of rewriting history fails, with its code."""
    values = served(chain(4))
    tamper(values)
    with pytest.raises(AuditError) as caught:
        verify_chain(Entry.from_json(value) for value in values)
    assert caught.value.code == code


def test_rewritten_history_does_not_reach_a_kept_head() -> None:
    """A whole chain written anew is valid in itself and ends elsewhere: a kept head exposes it."""
    honest = chain(4)
    head = GENESIS
    for sequence in range(1, 5):
        head = Entry.after(sequence, head, {"kind": "result", "n": 0}).hash
    assert head != honest[-1].hash


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"sequence": True, "entry": {}, "previous": "0" * 64, "hash": "0" * 64},
        {"sequence": 1, "entry": [], "previous": "0" * 64, "hash": "0" * 64},
        {"sequence": 1, "entry": {"x": 1.5}, "previous": "0" * 64, "hash": "0" * 64},
        {"sequence": 1, "entry": {}, "previous": "z" * 64, "hash": "0" * 64},
        {"sequence": 1, "entry": {}, "previous": "0" * 63, "hash": "0" * 64},
    ],
)
def test_malformed_entries_raise_only_our_error(value: Any) -> None:
    """A damaged download is told apart from a broken chain."""
    with pytest.raises(AuditError) as caught:
        Entry.from_json(value)
    assert caught.value.code == "audit.malformed"


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_-", max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcdefgh_-", max_size=6), plain, max_size=5))
def test_fast_encoder_writes_canonical_json(value: dict[str, Any]) -> None:
    """The encoder used for speed gives the canonical bytes, so that served entries hash alike."""
    assert msgspec.json.encode(value, order="sorted") == canonical_json(value)
