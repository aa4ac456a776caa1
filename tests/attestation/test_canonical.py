"""Strict JSON: what is refused, and the canonical form of what is accepted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.canonical import INTEGER_MAX, canonical_json, parse_json
from attestation.errors import DocumentError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_canonical_form_is_a_fixed_point(value: object) -> None:
    """Writing, reading and writing again gives the same bytes and the same value."""
    data = canonical_json(value)
    assert parse_json(data) == value
    assert canonical_json(parse_json(data)) == data


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0dD8e1.-ntf ', max_size=60).map(str.encode))
def test_hostile_text_raises_only_our_errors(data: bytes) -> None:
    """Any bytes are either strict JSON or a DocumentError."""
    try:
        value = parse_json(data)
    except DocumentError:
        return
    canonical_json(value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"a":1,"a":1}', "json.duplicate-key"),
        ('{"a":{"b":1,"b":2}}', "json.duplicate-key"),
        ("1.0", "json.number"),
        ("1e3", "json.number"),
        ("NaN", "json.number"),
        ("Infinity", "json.number"),
        (str(2**53), "json.number"),
        (str(-(2**53)), "json.number"),
        ("9" * 5000, "json.number"),
        ("[" * 33 + "]" * 33, "json.too-deep"),
        ("[" * 100_000, "json.too-deep"),
        ('"\\ud800"', "json.malformed"),
        ("", "json.malformed"),
        ("{} {}", "json.malformed"),
        ("{'a':1}", "json.malformed"),
    ],
)
def test_each_refusal_has_its_code(text: str, code: str) -> None:
    """Every kind of lax JSON is refused under its own code."""
    with pytest.raises(DocumentError) as caught:
        parse_json(text.encode())
    assert caught.value.code == code


def test_raw_surrogate_and_size() -> None:
    """Bytes that are not UTF-8 and documents above the limit are refused."""
    with pytest.raises(DocumentError) as caught:
        parse_json(b'"\xed\xa0\x80"')
    assert caught.value.code == "json.malformed"
    with pytest.raises(DocumentError) as caught:
        parse_json(b'"' + b"a" * 100 + b'"', bytes_max=50)
    assert caught.value.code == "json.too-large"


def test_keys_sort_by_utf16_code_units() -> None:
    """RFC 8785 section 3.2.3: U+1F600 (a surrogate pair) sorts before U+FB33."""
    value = {"\ufb33": 1, "\U0001f600": 2, "\r": 3, "1": 4}
    assert list(json.loads(canonical_json(value))) == ["\r", "1", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize("value", [1.5, b"x", {1: 2}, float("nan"), object()])
def test_values_outside_json_are_refused(value: object) -> None:
    """Floats, bytes, non-string keys and foreign objects cannot be written."""
    with pytest.raises(DocumentError):
        canonical_json(value)
