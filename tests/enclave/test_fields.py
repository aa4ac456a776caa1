"""The strict object reader: exact types, bounds, and no leftovers."""

from __future__ import annotations

from typing import Any

import pytest

from enclave.errors import CallerError
from enclave.fields import Fields
from tests.enclave.samples import KEY


def reader(**members: Any) -> Fields:
    """A reader whose errors are CallerErrors."""
    return Fields(members, where="place", error=CallerError)


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_only_objects_are_read(value: Any) -> None:
    """Anything but an object is refused at once."""
    with pytest.raises(CallerError, match="place: expected an object"):
        Fields(value, where="place", error=CallerError)


def test_every_member_is_taken_once_and_none_is_left() -> None:
    """Leftovers are refused by name, and a missing member is named too."""
    fields = reader(a=1, b=2)
    assert fields.integer("a") == 1
    with pytest.raises(CallerError, match="unknown member 'b'"):
        fields.done()
    with pytest.raises(CallerError, match=r"place\.a: required member is absent"):
        fields.take("a")
    assert fields.integer("b") == 2
    fields.done()


@pytest.mark.parametrize(
    ("method", "good", "bad"),
    [
        ("integer", 5, [True, False, "5", 5.0, None, -1, 1 << 53]),
        ("boolean", True, [1, 0, "true", None]),
        ("text", "a b", ["", "x" * 257, "a\nb", "a\x00", 5, None]),
        ("label", "name", ["", "null", "Name", 5, None]),
        ("items", None, [{}, "x", None]),
        ("base64", None, ["aGk=", "aG k", "aGl", 5, None, "\u00e9"]),
        ("hexadecimal", None, ["AB", "abc", "0xab", 5, None]),
    ],
)
def test_types_are_exact(method: str, good: Any, bad: list[Any]) -> None:
    """No value is coerced: booleans are no integers, numbers no texts, capitals no hex."""
    options = {"high": 5} if method == "items" else {}
    if good is not None:
        assert getattr(reader(x=good), method)("x", **options) == good
    for value in bad:
        with pytest.raises(CallerError, match=r"place\.x: "):
            getattr(reader(x=value), method)("x", **options)


@pytest.mark.parametrize("value", [1, True, "b", None])
def test_a_constant_has_its_type_too(value: Any) -> None:
    """True is not the constant 1, and other texts are not the constant text."""
    expected = "a" if isinstance(value, str) else 2 if value == 1 and value is not True else 1
    with pytest.raises(CallerError):
        reader(x=value).constant("x", expected)


def test_sizes_are_bounded() -> None:
    """Bytes have an exact or largest size, lists a number of items, texts in lists are distinct."""
    assert reader(x="AAAA").base64("x", size=3) == bytes(3)
    with pytest.raises(CallerError, match="expected 4 bytes, found 3"):
        reader(x="AAAA").base64("x", size=4)
    with pytest.raises(CallerError, match="expected at most 2 bytes"):
        reader(x="AAAA").base64("x", size_max=2)
    with pytest.raises(CallerError, match="expected a list of 1 to 2 items"):
        reader(x=[]).items("x", low=1, high=2)
    with pytest.raises(CallerError, match="expected distinct texts"):
        reader(x=["a", "a"]).texts("x", high=5)
    with pytest.raises(CallerError, match="expected texts"):
        reader(x=["a", 1]).texts("x", high=5)
    with pytest.raises(CallerError, match="expected an object of at most 1 members"):
        reader(x={"a": 1, "b": 2}).mapping("x", high=1)


def test_nested_objects_name_their_place() -> None:
    """Errors inside lists and objects say where, and nested leftovers are refused."""
    with pytest.raises(CallerError, match=r"place\.x\[1\]\.y: expected an integer"):
        [item.integer("y") for item in reader(x=[{"y": 1}, {"y": "1"}]).each("x", high=5)]
    with pytest.raises(CallerError, match=r"place\.x\[0\]: unknown member 'z'"):
        [item.integer("y") for item in reader(x=[{"y": 1, "z": 2}]).each("x", high=5)]
    with pytest.raises(CallerError, match=r"place\.x: expected an object"):
        reader(x=[]).fields("x")


def test_ids_need_one_of_the_prefixes() -> None:
    """An id of another kind is refused, and the error says which kinds are expected."""
    assert reader(x=KEY).identifier("x", "agt", "key") == KEY
    with pytest.raises(CallerError, match="expected an id with prefix agt or opr"):
        reader(x=KEY).identifier("x", "agt", "opr")


def test_null_is_told_from_absent() -> None:
    """A member that may be null has to be there."""
    fields = reader(x=None)
    assert fields.optional_null("x")
    fields.done()
    assert not reader(x=1).optional_null("x")
    assert not reader().optional_null("x")


def test_errors_do_not_repeat_values() -> None:
    """A refused value is not copied into the message."""
    with pytest.raises(CallerError) as caught:
        reader(x="hunter2-is-secret").integer("x")
    assert "hunter2" not in caught.value.detail
