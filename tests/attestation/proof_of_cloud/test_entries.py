"""Registry lines: exactly the members of their kind, canonical, and levels no method can exceed."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.canonical import canonical_json
from attestation.errors import StatementError
from attestation.proof_of_cloud.entries import Entry, Kind, line_prefix
from attestation.proof_of_cloud.statement import LEVEL_MAX, Method, Source, Statement

from .conftest import MACHINE, NOW

COMMON: dict[str, Any] = {"commitment": MACHINE.commitment.hex(), "issued_at": NOW, "issuer": "alice"}
STATEMENT = COMMON | {
    "kind": "statement",
    "evidence": ["ab" * 32],
    "expires_at": NOW + 9,
    "facility": "f",
    "level": 1,
    "method": "provider-statement",
    "provider": "acme",
    "region": "eu",
}
ENDORSEMENT = COMMON | {
    "kind": "endorsement",
    "evidence": ["ab" * 32],
    "expires_at": NOW + 9,
    "level": 2,
    "method": "witness",
}
REVOCATION = COMMON | {"kind": "revocation", "reason": "stolen"}
FREEZE = COMMON | {"kind": "freeze", "reason": "incident"}
REINSTATEMENT = COMMON | {"kind": "reinstatement", "lifts": [4], "reason": "found"}
ALL = [STATEMENT, ENDORSEMENT, REVOCATION, FREEZE, REINSTATEMENT]


@pytest.mark.parametrize("value", ALL, ids=lambda value: value["kind"])
def test_every_kind_reads_back(value: dict[str, Any]) -> None:
    """A line is its own canonical form, and begins with its commitment."""
    entry = Entry.of(value)
    assert Entry.parse(entry.line) == entry
    assert entry.line.startswith(line_prefix(MACHINE.commitment.hex()))


@pytest.mark.parametrize("value", ALL, ids=lambda value: value["kind"])
def test_members_are_exact(value: dict[str, Any]) -> None:
    """One member more or less makes a line malformed."""
    for name in value:
        with pytest.raises(StatementError):
            Entry.of({key: item for key, item in value.items() if key != name})
    with pytest.raises(StatementError):
        Entry.of(value | {"zzz": 1})


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (STATEMENT, {"commitment": "AB" * 32}),
        (STATEMENT, {"commitment": "ab" * 31}),
        (STATEMENT, {"commitment": "*"}),
        (STATEMENT, {"issued_at": -1}),
        (STATEMENT, {"issued_at": True}),
        (STATEMENT, {"issuer": ""}),
        (STATEMENT, {"issuer": "x" * 129}),
        (STATEMENT, {"issuer": "a\nb"}),
        (STATEMENT, {"provider": 7}),
        (STATEMENT, {"evidence": ["zz"]}),
        (STATEMENT, {"evidence": ["ab" * 32, "ab" * 32]}),
        (STATEMENT, {"evidence": "ab" * 32}),
        (STATEMENT, {"expires_at": NOW}),
        (STATEMENT, {"method": "rumour"}),
        (STATEMENT, {"kind": "praise"}),
        (REVOCATION, {"commitment": "*"}),
        (REVOCATION, {"reason": ""}),
        (REVOCATION, {"reason": "x" * 257}),
        (REVOCATION, {"reason": "a\x1bb"}),
        (REINSTATEMENT, {"lifts": []}),
        (REINSTATEMENT, {"lifts": [4, 4]}),
        (REINSTATEMENT, {"lifts": [-1]}),
        (REINSTATEMENT, {"lifts": 4}),
        (REINSTATEMENT, {"lifts": list(range(65))}),
    ],
)
def test_wrong_values_are_malformed(value: dict[str, Any], change: dict[str, Any]) -> None:
    """Each member's own rule, broken alone."""
    with pytest.raises(StatementError) as caught:
        Entry.of(value | change)
    assert caught.value.code == "proof-of-cloud.malformed"


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (STATEMENT, {"level": 2}),
        (STATEMENT, {"level": 2, "method": "witness"}),
        (STATEMENT, {"level": 1, "method": "operator-list"}),
        (ENDORSEMENT, {"level": 1}),
        (ENDORSEMENT, {"level": 3}),
        (ENDORSEMENT, {"level": 2, "method": "provider-statement"}),
        (ENDORSEMENT, {"evidence": []}),
    ],
)
def test_no_line_exceeds_what_its_method_proves(value: dict[str, Any], change: dict[str, Any]) -> None:
    """Statements stop at level 1, witnesses at 2, and level 2 needs evidence."""
    with pytest.raises(StatementError) as caught:
        Entry.of(value | change)
    assert caught.value.code == "proof-of-cloud.level"


def test_a_line_in_another_spelling_is_refused() -> None:
    """White space, key order and duplicate keys: only the canonical bytes are a line."""
    line = Entry.of(REVOCATION).line
    reordered = b'{"issuer":"alice",' + line[1:].replace(b'"issuer":"alice",', b"")
    for other in (line + b" ", line.replace(b":", b": ", 1), reordered, line[:-1] + b',"kind":"freeze"}'):
        with pytest.raises(StatementError):
            Entry.parse(other)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_entry_or_a_typed_error(data: bytes) -> None:
    """Parsing hostile lines raises StatementError only."""
    with pytest.raises(StatementError):
        Entry.parse(data)


@given(
    st.dictionaries(
        st.sampled_from([*STATEMENT, "reason", "lifts"]),
        st.one_of(st.none(), st.integers(0, 9), st.text(max_size=5), st.lists(st.integers(0, 3), max_size=2)),
        max_size=12,
    )
)
def test_any_object_is_an_entry_or_a_typed_error(value: dict[str, Any]) -> None:
    """Objects with the right names and wrong values raise StatementError only."""
    for kind in Kind:
        with contextlib.suppress(StatementError):
            assert Entry.of(value | {"kind": kind.value}).kind is kind


def test_oversized_lines_are_refused() -> None:
    """A line of five kilobytes is not read."""
    with pytest.raises(StatementError):
        Entry.parse(canonical_json(STATEMENT | {"provider": "x" * 5000}))


@pytest.mark.parametrize("method", list(Method))
def test_a_statement_of_any_source_keeps_to_its_method(method: Method) -> None:
    """The common type itself refuses a level above the method's, whoever makes it."""

    def make(level: int) -> Statement:
        return Statement(
            commitment=MACHINE.commitment,
            source=Source.REGISTRY,
            issuer="x",
            method=method,
            level=level,
            issued_at=0,
            expires_at=1,
            evidence=("ab" * 32,),
        )

    assert make(LEVEL_MAX[method]).level == LEVEL_MAX[method]
    with pytest.raises(StatementError) as caught:
        make(LEVEL_MAX[method] + 1)
    assert caught.value.code == "proof-of-cloud.level"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"commitment": b"short"}, "32 bytes"),
        ({"level": -1}, "from 0 to 3"),
        ({"level": 4, "method": Method.PHYSICAL_AUDIT}, "from 0 to 3"),
        ({"evidence": ("AB" * 32,)}, "64 lower-case hex digits"),
        ({"evidence": ("ab" * 32,) * 2}, "distinct"),
        ({"expires_at": 0}, "expires after"),
        ({"issuer": ""}, "issuer"),
        ({"region": "a\x00b"}, "region"),
    ],
)
def test_the_common_type_checks_itself(changes: dict[str, Any], reason: str) -> None:
    """An adapter cannot make a statement that a registry line could not hold."""
    fields: dict[str, Any] = {
        "commitment": MACHINE.commitment,
        "source": Source.REGISTRY,
        "issuer": "x",
        "method": Method.PROVIDER_STATEMENT,
        "level": 1,
        "issued_at": 0,
        "expires_at": 1,
    }
    with pytest.raises(StatementError, match=reason):
        Statement(**(fields | changes))
