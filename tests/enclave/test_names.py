"""Names and ids: what programs print for a missing value is never taken for one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.errors import CallerError
from enclave.ids import check_id, check_name, new_id
from tests.enclave.samples import AGENT, KEY

CONFUSIONS: list[Any] = [
    None,
    "",
    " ",
    "null",
    "undefined",
    "none",
    "nan",
    "NaN",
    "true",
    "false",
    True,
    False,
    0,
    1,
    123,
    1.5,
    1e3,
    float("nan"),
    "0",
    "1",
    "666",
    "1e3",
    "-1",
    "+1",
    "0x10",
    "Trader",
    "TRADER",
    "trader ",
    " trader",
    "trader\n",
    "trader\x00",
    "tr ader",
    "tr_ader",
    "trader.",
    "-trader",
    "a" * 64,
    "..",
    ".",
    "../trader",
    "trader/..",
    "a/b",
    "a\\b",
    "a%2fb",
    "tr\u0430der",  # Cyrillic a
    "tr\u0131der",  # dotless i
    "\uff54rader",  # full-width t
    "trader\u200b",  # zero-width space
    "\u202etrader",  # right-to-left override
    "tra\u0301der",  # combining accent
    "\u0661\u0662",  # Arabic digits
    "\U0001d4c9rader",  # mathematical t
    ["trader"],
    {"name": "trader"},
    b"trader",
]


@pytest.mark.parametrize("value", CONFUSIONS, ids=repr)
def test_confusing_names_are_refused(value: Any) -> None:
    """Missing values, numbers, look-alikes, paths and over-long texts are not names."""
    with pytest.raises(CallerError) as caught:
        check_name(value)
    assert caught.value.code == "name.malformed"
    assert caught.value.hint


@pytest.mark.parametrize("value", ["a", "trader", "trader-2", "a" * 63, "nulls", "true-north", "nan-0", "x-"])
def test_ordinary_names_are_kept_as_they_are(value: str) -> None:
    """Valid names come back unchanged, also those that merely contain a reserved word."""
    assert check_name(value) == value


@pytest.mark.parametrize(
    "value",
    [*CONFUSIONS, "key_", KEY.upper(), KEY[:-1], KEY + "a", AGENT, KEY.replace("a", "1"), f" {KEY}", f"{KEY}\n"],
    ids=repr,
)
def test_confusing_ids_are_refused(value: Any) -> None:
    """Only the exact form with the right prefix is an id; names and indexes never are."""
    with pytest.raises(CallerError) as caught:
        check_id(value, "key")
    assert caught.value.code == "id.malformed"


def test_new_ids_are_valid_and_different() -> None:
    """Fresh ids pass their own check and do not repeat."""
    made = {new_id("key") for _ in range(100)}
    assert len(made) == 100
    assert all(check_id(value, "key") == value for value in made)


@given(st.text(max_size=80))
def test_a_name_is_what_its_pattern_says(value: str) -> None:
    """A text is accepted exactly if it is lower-case ASCII letters, digits and hyphens and no reserved word."""
    letters = set("abcdefghijklmnopqrstuvwxyz")
    valid = (
        1 <= len(value) <= 63
        and value[0] in letters
        and set(value) <= letters | set("0123456789-")
        and value not in {"null", "undefined", "true", "false", "none", "nan"}
    )
    try:
        assert check_name(value) == value
        assert valid
    except CallerError:
        assert not valid
