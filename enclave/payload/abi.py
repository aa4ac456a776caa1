"""Call data of EVM contracts, decoded by a function's signature (Solidity contract ABI specification).

Rule kept: there is exactly one encoding of given values, the one every compiler and library writes: parts in order,
without gaps or overlaps, padding of zeros, nothing behind.  Anything else is refused, because two readers of it may
see two different calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, Union

from enclave.addresses import keccak256
from enclave.errors import CallerError

SIGNATURE_CHARACTERS_MAX = 256
"""Longest signature."""

TYPES_MAX = 64
"""Most types of one signature, inner ones included."""

DEPTH_MAX = 4
"""How deep tuples and arrays may be nested."""

LENGTH_MAX = 1024
"""Longest array of fixed length."""

WORD = 32

Value: TypeAlias = Union[int, bool, bytes, str, "tuple[Value, ...]"]
"""Integers, truth values, bytes (20 for addresses), text, and tuples for tuples and arrays."""

_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,127}")
_ELEMENTARY = re.compile(r"(address|bool|string|bytes|u?int)([0-9]{0,3})")
_BRACKETS = re.compile(r"\[([1-9][0-9]{0,3})?\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class AbiType:
    """One type, checked; `head` is its size in bytes where it stands, a word for dynamic ones."""

    kind: str
    """`uint`, `int`, `address`, `bool`, `fixed-bytes`, `bytes`, `string`, `array` or `tuple`."""
    size: int = 0
    """Bits of integers, bytes of fixed bytes, length of arrays of fixed length; 0 for arrays of any length."""
    inner: tuple[AbiType, ...] = ()
    """The members of a tuple, the one type of an array."""
    dynamic: bool = False
    head: int = WORD

    @property
    def element(self) -> AbiType:
        """What is left of an array's type without its dimensions."""
        return self.inner[0].element if self.kind == "array" else self


@dataclass(frozen=True, slots=True, kw_only=True)
class AbiFunction:
    """A function: what its four bytes are, and how to read what follows them."""

    signature: str
    selector: bytes
    arguments: tuple[AbiType, ...]

    @classmethod
    def parse(cls, signature: str) -> AbiFunction:
        """From canonical text such as `swap(address,(uint256,bytes)[])`; raises CallerError (`payload.abi`)."""
        name, bracket, _ = signature.partition("(")
        if len(signature) > SIGNATURE_CHARACTERS_MAX or not bracket or not _NAME.fullmatch(name):
            _refuse("expected a function signature such as transfer(address,uint256)")
        arguments = _Parser(signature, len(name)).arguments()
        return cls(signature=signature, selector=keccak256(signature.encode())[:4], arguments=arguments)

    def decode(self, data: bytes) -> tuple[Value, ...]:
        """The arguments from call data with its selector; raises CallerError (`payload.abi`)."""
        if data[:4] != self.selector:
            _refuse("another function is called")
        values, end = _Reader(data[4:]).sequence(self.arguments, 0)
        if end != len(data) - 4:
            _refuse("bytes follow the last argument")
        return values

    def at(self, path: Sequence[int]) -> AbiType:
        """The type of the argument, or of the tuple's member, at a path; arrays on the way count as their elements.

        Raises CallerError (`payload.abi`).
        """
        found = _tuple(self.arguments)
        for step in path:
            members = found.element.inner if found.element.kind == "tuple" else ()
            if not 0 <= step < len(members):
                _refuse("there is no such argument")
            found = members[step]
        return found


def values_at(values: Value, path: Sequence[int], kind: AbiType) -> Iterator[Value]:
    """Every value at a path in what was decoded; `kind` is the type of `values`."""
    if kind.kind == "array":
        assert isinstance(values, tuple)
        for value in values:
            yield from values_at(value, path, kind.inner[0])
    elif path:
        assert isinstance(values, tuple)
        yield from values_at(values[path[0]], path[1:], kind.inner[path[0]])
    else:
        yield values


class _Parser:
    """A signature from its first bracket on."""

    def __init__(self, text: str, position: int) -> None:
        self._text, self._position = text, position
        self._types = 0

    def arguments(self) -> tuple[AbiType, ...]:
        members = () if self._text[self._position :] == "()" else self._members(0)
        if members and self._position != len(self._text):
            _refuse("text follows the signature")
        return members

    def _members(self, depth: int) -> tuple[AbiType, ...]:
        """Types between brackets, at least one."""
        found = []
        while True:
            self._position += 1  # the bracket or comma
            found.append(self._type(depth))
            end = self._text[self._position : self._position + 1]
            if end == ")":
                self._position += 1
                return tuple(found)
            if end != ",":
                _refuse("expected a comma or a closing bracket")

    def _type(self, depth: int) -> AbiType:
        self._types += 1
        if self._types > TYPES_MAX or depth > DEPTH_MAX:
            _refuse("too many or too deeply nested types")
        if self._text.startswith("(", self._position):
            made = _tuple(self._members(depth + 1))
        else:
            match = _ELEMENTARY.match(self._text, self._position)
            if match is None:
                _refuse("expected a type such as uint256")
            self._position = match.end()
            made = _elementary(match[1], match[2])
        while (match := _BRACKETS.match(self._text, self._position)) is not None:
            depth += 1
            if depth > DEPTH_MAX:
                _refuse("too many or too deeply nested types")
            self._position = match.end()
            made = _array(made, int(match[1] or 0))
        return made


def _elementary(word: str, digits: str) -> AbiType:
    size = int(digits or 0)
    if digits.startswith("0"):
        _refuse("expected a size without leading zeros")
    if word in ("uint", "int"):
        if not 8 <= size <= 256 or size % 8:
            _refuse("expected the bits of an integer, such as uint256")
        return AbiType(kind=word, size=size)
    if word == "bytes" and digits:
        if not 1 <= size <= WORD:
            _refuse("expected bytes1 to bytes32")
        return AbiType(kind="fixed-bytes", size=size)
    if digits:
        _refuse(f"{word} has no size")
    return AbiType(kind=word, dynamic=word in ("bytes", "string"))


def _array(inner: AbiType, length: int) -> AbiType:
    if length > LENGTH_MAX:
        _refuse(f"expected arrays of at most {LENGTH_MAX}")
    dynamic = not length or inner.dynamic
    head = WORD if dynamic else length * inner.head
    return AbiType(kind="array", size=length, inner=(inner,), dynamic=dynamic, head=head)


def _tuple(members: tuple[AbiType, ...]) -> AbiType:
    dynamic = any(member.dynamic for member in members)
    head = WORD if dynamic else sum(member.head for member in members)
    return AbiType(kind="tuple", inner=members, dynamic=dynamic, head=head)


class _Reader:
    """Encoded arguments; `at` is always a position from their start."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def sequence(self, types: Sequence[AbiType], base: int) -> tuple[tuple[Value, ...], int]:
        """Values one after the other, and where they end: heads first, then what is dynamic, in order."""
        position, tail = base, base + sum(kind.head for kind in types)
        self._require(tail)
        values: list[Value] = []
        for kind in types:
            if kind.dynamic:
                if base + self._word(position) != tail:
                    _refuse("parts are not in order, or overlap, or leave gaps")
                value, tail = self._dynamic(kind, tail)
            else:
                value = self._static(kind, position)
            values.append(value)
            position += kind.head
        return tuple(values), tail

    def _dynamic(self, kind: AbiType, at: int) -> tuple[Value, int]:
        if kind.kind == "tuple":
            return self.sequence(kind.inner, at)
        if kind.kind == "array":
            count = kind.size
            if not count:
                count, at = self._word(at), at + WORD
            # Before anything is made of it: a count that the data cannot hold.
            self._require(at + count * kind.inner[0].head)
            return self.sequence(kind.inner * count, at)
        size, at = self._word(at), at + WORD
        end = at + -(-size // WORD) * WORD
        self._require(end)
        content = self._data[at : at + size]
        if any(self._data[at + size : end]):
            _refuse("padding is not zero")
        if kind.kind == "bytes":
            return content, end
        try:
            return content.decode(), end
        except UnicodeDecodeError:
            _refuse("a string is not UTF-8")

    def _static(self, kind: AbiType, at: int) -> Value:
        if kind.kind == "tuple":
            return self.sequence(kind.inner, at)[0]
        if kind.kind == "array":
            return self.sequence(kind.inner * kind.size, at)[0]
        word = self._data[at : at + WORD]
        if kind.kind == "fixed-bytes":
            if any(word[kind.size :]):
                _refuse("padding is not zero")
            return word[: kind.size]
        number = int.from_bytes(word, "big", signed=kind.kind == "int")
        if kind.kind == "address":
            if number >> 160:
                _refuse("an address has more than 20 bytes")
            return word[12:]
        if kind.kind == "bool":
            if number > 1:
                _refuse("a truth value is neither 0 nor 1")
            return bool(number)
        low, high = (-(1 << (kind.size - 1)), 1 << (kind.size - 1)) if kind.kind == "int" else (0, 1 << kind.size)
        if not low <= number < high:
            _refuse("an integer exceeds its type")
        return number

    def _word(self, at: int) -> int:
        self._require(at + WORD)
        return int.from_bytes(self._data[at : at + WORD], "big")

    def _require(self, end: int) -> None:
        if end > len(self._data):
            _refuse("arguments end early")


def _refuse(detail: str) -> NoReturn:
    raise CallerError(f"call data: {detail}", code="payload.abi") from None
