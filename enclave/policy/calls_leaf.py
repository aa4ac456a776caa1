"""Conditions on the decoded arguments of contract calls (specs/policy.md section 3).

Rules kept: call data for a listed contract is exactly the encoding of a listed function, or the call is denied; a
condition names an argument that exists and values its type can have, or the policy is invalid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.payload.abi import SIGNATURE_CHARACTERS_MAX, AbiFunction, AbiType, Value, values_at
from enclave.policy.checks import LIST_MAX, Check, listed, read_address

CALLS_MAX = 256
"""Most calls of one rule."""

TERMS_MAX = 64
"""Most conditions on the arguments of one call."""

PATH_MAX = 5
"""Longest path to an argument: tuples nest no deeper."""

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,77}")
_HEX = re.compile(r"0x(?:[0-9a-f]{2})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentTerms:
    """What one argument may be; None does not restrict it."""

    at: tuple[int, ...]
    """The argument's number, then the number of a tuple's member, and so on."""
    allowed: frozenset[Value] | None
    low: int | None
    high: int | None
    """Most that all values of an array add up to."""

    def check(self, function: AbiFunction, arguments: tuple[Value, ...]) -> Iterator[Check]:
        """Each condition on what was decoded."""
        first, *rest = self.at
        values = list(values_at(arguments[first], rest, function.arguments[first]))
        place = "argument " + ".".join(str(step) for step in self.at)
        if self.allowed is not None:
            yield listed("evm.calls.args", all(value in self.allowed for value in values), place)
        numbers = [value for value in values if isinstance(value, int)]
        if self.high is not None:
            yield _bounded(place, sum(numbers), f"at most {self.high}", sum(numbers) <= self.high)
        if self.low is not None:
            lowest = min(numbers, default=self.low)
            yield _bounded(place, lowest, f"at least {self.low}", lowest >= self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTerms:
    """One function that may be called, and with which arguments."""

    function: AbiFunction
    arguments: tuple[ArgumentTerms, ...]


CallList = Mapping[bytes, Mapping[bytes, CallTerms]]
"""Contract (20 bytes), selector (4 bytes), terms."""


def call_checks(calls: Mapping[bytes, CallTerms], data: bytes) -> Iterator[Check]:
    """Every condition on call data for one listed contract."""
    terms = calls.get(data[:4])
    if terms is None:
        yield listed("evm.calls", False, "function", data[:4], _hex)
        return
    try:
        arguments = terms.function.decode(data)
    except CallerError as error:
        yield Check("evm.calls", False, f"not an encoding of {terms.function.signature}: {error.detail}")
        return
    yield listed("evm.calls", True, "function", terms.function.signature)
    for argument in terms.arguments:
        yield from argument.check(terms.function, arguments)


def read_calls(fields: Fields) -> dict[bytes, dict[bytes, CallTerms]]:
    """The member `calls` of an `evm` condition; raises the reader's error."""
    calls: dict[bytes, dict[bytes, CallTerms]] = {}
    for item in fields.each("calls", low=1, high=CALLS_MAX):
        contract = read_address(item, "contract", item.take("contract"))
        try:
            function = AbiFunction.parse(item.text("function", characters_max=SIGNATURE_CHARACTERS_MAX))
        except CallerError as error:
            item.refuse(error.detail, "function")
        listed_here = calls.setdefault(contract, {})
        if function.selector in listed_here:
            item.refuse("this function of this contract is named twice", "function")
        terms = (
            tuple(_read_terms(one, function) for one in item.each("args", low=1, high=TERMS_MAX))
            if ("args" in item)
            else ()
        )
        if len({one.at for one in terms}) != len(terms):
            item.refuse("one argument has two conditions", "args")
        listed_here[function.selector] = CallTerms(function=function, arguments=terms)
    return calls


def _read_terms(fields: Fields, function: AbiFunction) -> ArgumentTerms:
    path = fields.items("at", low=1, high=PATH_MAX)
    if not all(type(step) is int and step >= 0 for step in path):
        fields.refuse("expected numbers of arguments, from 0", "at")
    try:
        kind = function.at(path)
    except CallerError as error:
        fields.refuse(error.detail, "at")
    if kind.element.kind == "tuple":
        fields.refuse("a tuple has no value of its own; name its member", "at")
    found = ArgumentTerms(
        at=tuple(path),
        allowed=_read_allowed(fields, kind.element) if "in" in fields else None,
        low=_read_bound(fields, "min", kind),
        high=_read_bound(fields, "max", kind),
    )
    if found.allowed is None and found.low is None and found.high is None:
        fields.refuse("expected in, min or max")
    return found


def _read_allowed(fields: Fields, kind: AbiType) -> frozenset[Value]:
    return frozenset(_read_value(fields, kind, item) for item in fields.items("in", low=1, high=LIST_MAX))


def _read_value(fields: Fields, kind: AbiType, value: Any) -> Value:
    if kind.kind == "address":
        return read_address(fields, "in", value)
    if kind.kind in ("uint", "int"):
        return _number(fields, "in", kind, value)
    is_hex = isinstance(value, str) and _HEX.fullmatch(value) is not None
    fits = {
        "bool": type(value) is bool,
        "string": isinstance(value, str),
        "bytes": is_hex,
        "fixed-bytes": is_hex and len(value) == 2 + 2 * kind.size,
    }
    if not fits[kind.kind]:
        fields.refuse("expected values of the argument's type", "in")
    found: Value = bytes.fromhex(value[2:]) if kind.kind in ("bytes", "fixed-bytes") else value
    return found


def _read_bound(fields: Fields, name: str, kind: AbiType) -> int | None:
    if name not in fields:
        return None
    if kind.element.kind not in ("uint", "int"):
        fields.refuse("the rule is not about an integer", name)
    if kind is not kind.element and kind.element.kind == "int":
        # Negative values would make room for larger ones in the sum.
        fields.refuse("the rule is not about one integer: arrays of signed ones have no bounds", name)
    return _number(fields, name, kind.element, fields.take(name))


def _number(fields: Fields, name: str, kind: AbiType, value: Any) -> int:
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        fields.refuse("expected integers as decimal strings", name)
    number, signed = int(value), kind.kind == "int"
    low, high = (-(1 << (kind.size - 1)), 1 << (kind.size - 1)) if signed else (0, 1 << kind.size)
    # What an array adds up to may exceed its type.
    if not low <= number < (high if signed or name == "in" else 1 << 256):
        fields.refuse("expected values of the argument's type", name)
    return number


def _bounded(place: str, found: int, bound: str, holds: bool) -> Check:
    return Check("evm.calls.args", holds, partial("{} is {}, {}".format, place, found, bound))


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
