"""Call data: what eth-abi encodes is decoded to the same values, and nothing else is decoded at all."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from eth_abi import decode, encode
from eth_utils import function_signature_to_4byte_selector
from hypothesis import given
from hypothesis import strategies as st

from enclave.errors import CallerError
from enclave.payload.abi import DEPTH_MAX, LENGTH_MAX, TYPES_MAX, AbiFunction

WORD = 32
SWAP = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))"


def word(value: int) -> bytes:
    """One unsigned word."""
    return value.to_bytes(WORD, "big")


def refused(signature: str, arguments: bytes) -> str:
    """Why arguments are not decoded."""
    function = AbiFunction.parse(signature)
    with pytest.raises(CallerError) as caught:
        function.decode(function.selector + arguments)
    assert caught.value.code == "payload.abi"
    return caught.value.detail


sizes = st.integers(1, 32).map(lambda octets: octets * 8)
elementary = st.one_of(
    st.sampled_from(["address", "bool", "string", "bytes"]),
    sizes.map(lambda bits: f"uint{bits}"),
    sizes.map(lambda bits: f"int{bits}"),
    st.integers(1, 32).map(lambda size: f"bytes{size}"),
)


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.tuples(inner, st.sampled_from(["[]", "[1]", "[3]"])).map("".join)
    return arrays | st.lists(inner, min_size=1, max_size=3).map(lambda members: f"({','.join(members)})")


types = st.recursive(elementary, _wider, max_leaves=4)


def values_of(kind: str) -> st.SearchStrategy[Any]:
    """Values of a type, as eth-abi takes them."""
    if kind.endswith("]"):
        inner, _, length = kind[:-1].rpartition("[")
        low, high = (int(length), int(length)) if length else (0, 3)
        return st.lists(values_of(inner), min_size=low, max_size=high).map(tuple)
    if kind.startswith("("):
        return st.tuples(*(values_of(member) for member in members_of(kind)))
    if kind == "address":
        return st.binary(min_size=20, max_size=20).map(lambda data: "0x" + data.hex())
    if kind == "bool":
        return st.booleans()
    if kind == "string":
        return st.text(max_size=40)
    if kind == "bytes":
        return st.binary(max_size=70)
    if kind.startswith("bytes"):
        size = int(kind[5:])
        return st.binary(min_size=size, max_size=size)
    bits = int(kind.removeprefix("u")[3:])
    return (
        st.integers(0, (1 << bits) - 1)
        if kind.startswith("u")
        else st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    )


def members_of(kind: str) -> list[str]:
    """The members of a tuple's text."""
    found, depth, start = [], 0, 1
    for position, letter in enumerate(kind[:-1]):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 1:
            found.append(kind[start:position])
            start = position + 1
    return [*found, kind[start:-1]]


def theirs(value: Any) -> Any:
    """eth-abi's value in our form: addresses as 20 bytes."""
    if isinstance(value, tuple | list):
        return tuple(theirs(item) for item in value)
    return bytes.fromhex(value[2:]) if isinstance(value, str) and value.startswith("0x") else value


calls = (
    st.lists(types, min_size=1, max_size=4)
    .filter(lambda kinds: "string" not in "".join(kinds))
    .flatmap(lambda kinds: st.tuples(st.just(kinds), st.tuples(*map(values_of, kinds))))
)


@given(calls)
def test_what_eth_abi_encodes_is_decoded(call: tuple[list[str], tuple[Any, ...]]) -> None:
    """Values of any types come out as they went in, and the selector is that of eth-utils."""
    kinds, values = call
    function = AbiFunction.parse(f"f({','.join(kinds)})")
    assert function.selector == function_signature_to_4byte_selector(function.signature)
    assert function.decode(function.selector + encode(kinds, values)) == theirs(values)


@given(st.lists(st.text(max_size=40), max_size=4))
def test_texts_are_decoded(values: list[str]) -> None:
    """Strings are text, of any length and script."""
    function = AbiFunction.parse("f(string[],string)")
    assert function.decode(function.selector + encode(["string[]", "string"], [values, "x"])) == (tuple(values), "x")


@given(calls, st.data())
def test_whatever_is_decoded_has_one_encoding(call: tuple[list[str], tuple[Any, ...]], data: st.DataObject) -> None:
    """A byte changed, left out or added: it is refused, or decodes to values whose encoding is these very bytes."""
    kinds, values = call
    encoded = bytearray(encode(kinds, values))
    position = data.draw(st.integers(0, len(encoded)))
    change = data.draw(st.sampled_from(["set", "cut", "add"]))
    if change == "set" and position < len(encoded):
        encoded[position] ^= data.draw(st.integers(1, 255))
    elif change == "cut":
        del encoded[position:]
    else:
        encoded[position:position] = data.draw(st.binary(min_size=1, max_size=64))
    function = AbiFunction.parse(f"f({','.join(kinds)})")
    with contextlib.suppress(CallerError):
        function.decode(function.selector + encoded)
        again = decode(kinds, bytes(encoded), strict=True)
        assert encode(kinds, again) == encoded


@given(types, st.binary(max_size=300))
def test_hostile_arguments_only_raise_caller_errors(kind: str, data: bytes) -> None:
    """Any bytes decode or raise a CallerError."""
    function = AbiFunction.parse(f"f({kind})")
    with contextlib.suppress(CallerError):
        function.decode(function.selector + data)


@given(st.text(alphabet="f(),[]0123456789uintbytesaddressbool ", max_size=40))
def test_hostile_signatures_only_raise_caller_errors(text: str) -> None:
    """Any text is a signature or raises a CallerError."""
    with contextlib.suppress(CallerError):
        AbiFunction.parse(text)


ADDRESS, NUMBER = word(0xAA), word(7)


@pytest.mark.parametrize(
    ("signature", "good", "bad"),
    [
        ("f(address)", ADDRESS, b"\x01" + ADDRESS[1:]),
        ("f(address)", ADDRESS, word(1 << 160)),
        ("f(bool)", word(1), word(2)),
        ("f(uint8)", word(255), word(256)),
        ("f(uint24)", word(1), word(1 << 24)),
        ("f(int8)", b"\xff" * 32, b"\x00" * 31 + b"\xff"),
        ("f(int8)", word(127), b"\xff" * 31 + b"\x7f"),
        ("f(bytes4)", b"abcd" + bytes(28), b"abcd" + bytes(27) + b"\x01"),
        ("f(bytes)", word(32) + word(1) + b"a" + bytes(31), word(32) + word(1) + b"a" + bytes(30) + b"\x01"),
        ("f(bytes)", word(32) + word(0), word(32) + word(0) + bytes(32)),
        ("f(bytes)", word(32) + word(1) + b"a" + bytes(31), word(64) + bytes(32) + word(1) + b"a" + bytes(31)),
        ("f(bytes)", word(32) + word(32) + bytes(32), word(32) + word(33) + bytes(32)),
        ("f(bytes)", word(32) + word(0), word(32) + word((1 << 256) - 1)),
        ("f(bytes)", word(32) + word(0), word((1 << 256) - 32) + word(0)),
        ("f(string)", word(32) + word(1) + b"a" + bytes(31), word(32) + word(1) + b"\xff" + bytes(31)),
        ("f(uint8[])", word(32) + word(1) + NUMBER, word(32) + word(2) + NUMBER),
        ("f(uint8[])", word(32) + word(0), word(32) + word(1 << 60)),
        ("f(uint8[2])", NUMBER + NUMBER, NUMBER),
        ("f()", b"", bytes(32)),
        (
            "f(bytes,bytes)",
            word(64) + word(96) + word(0) + word(0),
            word(64) + word(64) + word(0),
        ),
        (
            "f(bytes,bytes)",
            word(64) + word(96) + word(0) + word(0),
            word(96) + word(64) + word(0) + word(0),
        ),
        ("f(uint8,address)", NUMBER + ADDRESS, NUMBER + ADDRESS + b"\x00"),
        ("f(uint8,address)", NUMBER + ADDRESS, NUMBER + ADDRESS[:-1]),
    ],
)
def test_a_near_miss_of_an_encoding_is_refused(signature: str, good: bytes, bad: bytes) -> None:
    """Padding, ranges, offsets, lengths and ends: each pair differs in one of them."""
    function = AbiFunction.parse(signature)
    function.decode(function.selector + good)
    refused(signature, bad)


def test_another_function_is_not_decoded() -> None:
    """The four bytes decide whose arguments follow."""
    function = AbiFunction.parse("f(uint8)")
    other = AbiFunction.parse("g(uint8)")
    with pytest.raises(CallerError):
        function.decode(other.selector + NUMBER)


def test_published_selectors() -> None:
    """As everybody knows them."""
    known = {"transfer(address,uint256)": "a9059cbb", SWAP: "04e45aaf", "multicall(uint256,bytes[])": "5ae401dc"}
    assert {text: AbiFunction.parse(text).selector.hex() for text in known} == known


NESTED = "f(uint8" + "[]" * DEPTH_MAX + ")"


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("f(uint256)", "f(uint)"),
        ("f(uint256)", "f(uint256 amount)"),
        ("f(uint256)", "f(uint257)"),
        ("f(uint256)", "f(uint264)"),
        ("f(uint8)", "f(uint08)"),
        ("f(bytes32)", "f(bytes33)"),
        ("f(bytes32)", "f(bytes0)"),
        ("f(address)", "f(address20)"),
        ("f(address)", "f(Address)"),
        ("f(bool)", "f(function)"),
        ("f(bool)", "f(fixed128x18)"),
        ("f()", "f"),
        ("f()", "f(()"),
        ("f()", "f())"),
        ("f()", "(uint8)"),
        ("f()", "1f()"),
        ("f()", "f( )"),
        ("f()", "f() view"),
        ("f(bool)", "f(())"),
        ("f(bool,bool)", "f(bool,)"),
        ("f(bool,bool)", "f(bool;bool)"),
        ("f(bool[1])", "f(bool[0])"),
        (f"f(bool[{LENGTH_MAX}])", f"f(bool[{LENGTH_MAX + 1}])"),
        (NESTED, NESTED[:-1] + "[])"),
        (
            "f" + "(" * DEPTH_MAX + "bool" + ")" * DEPTH_MAX,
            "f" + "(" * (DEPTH_MAX + 2) + "bool" + ")" * (DEPTH_MAX + 2),
        ),
        ("f(" + ",".join(["int8"] * 40) + ")", "f(" + ",".join(["int8"] * (TYPES_MAX + 1)) + ")"),
    ],
)
def test_signatures_are_canonical(good: str, bad: str) -> None:
    """Aliases, names, spaces and types that do not exist would have other selectors than people expect."""
    AbiFunction.parse(good)
    with pytest.raises(CallerError) as caught:
        AbiFunction.parse(bad)
    assert caught.value.code == "payload.abi"
