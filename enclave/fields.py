"""Strict reading of one JSON object: every member taken once with its exact type, leftovers refused.

Rules kept: a boolean is never an integer, text is bounded, unknown members are errors, and every
error is the one the caller chose, naming the place (`slots[2].url`) but never the value's content.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, NoReturn, TypeGuard

from attestation.canonical import INTEGER_MAX
from attestation.envelope import b64url_decode
from attestation.errors import CodedError, DocumentError
from enclave.errors import CallerError
from enclave.ids import check_id, check_name

TEXT_CHARACTERS_MAX = 256
"""Default bound of a free text member."""

_REQUIRED: Any = object()


class Fields:
    """The members of one object, taken one by one; `done()` refuses what was not asked for."""

    def __init__(self, value: Any, *, where: str, error: Callable[[str], CodedError]) -> None:
        self._where = where
        self._error = error
        if not isinstance(value, dict):
            self.refuse("expected an object")
        self._left: dict[str, Any] = dict(value)

    def done(self) -> None:
        """Refuse members nobody asked for: what is not understood is not allowed."""
        if self._left:
            self.refuse(f"unknown member {min(self._left)[:40]!r}")

    def refuse(self, detail: str, name: str = "") -> NoReturn:
        """Raise the caller's error, naming the place."""
        place = f"{self._where}.{name}" if name and self._where else name or self._where
        raise self._error(f"{place}: {detail}" if place else detail) from None

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        """The raw member, or `default` when absent."""
        if name not in self._left:
            if default is _REQUIRED:
                self.refuse("required member is absent", name)
            return default
        return self._left.pop(name)

    def peek(self, name: str) -> Any:
        """The raw member without taking it; None when absent."""
        return self._left.get(name)

    def optional_null(self, name: str) -> bool:
        """Whether the required member is null; takes it if so."""
        if self._left.get(name, _REQUIRED) is None:
            del self._left[name]
            return True
        return False

    def constant(self, name: str, expected: str | int) -> None:
        """Require exactly this value and type."""
        value = self.take(name)
        if type(value) is not type(expected) or value != expected:
            self.refuse(f"expected {expected!r}", name)

    def text(self, name: str, *, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
        """Text of 1 to `characters_max` printable characters."""
        value = self.take(name)
        if not isinstance(value, str) or not 1 <= len(value) <= characters_max or not value.isprintable():
            self.refuse(f"expected 1 to {characters_max} printable characters", name)
        return value

    def choice(self, name: str, choices: Collection[str], default: Any = _REQUIRED) -> str:
        """One of a fixed set of words."""
        if default is not _REQUIRED and name not in self._left:
            return str(default)
        value = self.take(name)
        if not isinstance(value, str) or value not in choices:
            self.refuse(f"expected one of {', '.join(sorted(choices))}", name)
        return str(value)

    def integer(self, name: str, low: int = 0, high: int = INTEGER_MAX, default: Any = _REQUIRED) -> int:
        """A JSON integer in [low, high]."""
        if default is not _REQUIRED and name not in self._left:
            return int(default)
        value = self.take(name)
        if type(value) is not int or not low <= value <= high:
            self.refuse(f"expected an integer from {low} to {high}", name)
        return value

    def boolean(self, name: str, default: Any = _REQUIRED) -> bool:
        """JSON true or false."""
        if default is not _REQUIRED and name not in self._left:
            return bool(default)
        value = self.take(name)
        if type(value) is not bool:
            self.refuse("expected true or false", name)
        return value

    def label(self, name: str) -> str:
        """A name by the rules of `enclave.ids.check_name`."""
        try:
            return check_name(self.take(name))
        except CallerError as error:
            self.refuse(error.detail, name)

    def identifier(self, name: str, *prefixes: str) -> str:
        """An id with one of the prefixes."""
        value = self.take(name)
        prefix = next((one for one in prefixes if isinstance(value, str) and value.startswith(one + "_")), prefixes[0])
        try:
            return check_id(value, prefix)
        except CallerError:
            self.refuse(f"expected an id with prefix {' or '.join(prefixes)}", name)

    def base64(self, name: str, *, size: int | None = None, size_max: int | None = None) -> bytes:
        """Bytes from base64url without padding."""
        return self._sized(name, self._base64(name, self.take(name)), size, size_max)

    def hexadecimal(self, name: str, *, size: int | None = None, size_max: int | None = None) -> bytes:
        """Bytes from lower-case hex."""
        value = self.take(name)
        if not is_hex(value):
            self.refuse("expected lower-case hex", name)
        return self._sized(name, bytes.fromhex(value), size, size_max)

    def items(self, name: str, *, low: int = 0, high: int, default: Any = _REQUIRED) -> list[Any]:
        """A list of low to high raw items."""
        if default is not _REQUIRED and name not in self._left:
            return list(default)
        value = self.take(name)
        if not isinstance(value, list) or not low <= len(value) <= high:
            self.refuse(f"expected a list of {low} to {high} items", name)
        return value

    def texts(
        self,
        name: str,
        *,
        low: int = 0,
        high: int,
        default: Any = _REQUIRED,
        characters_max: int = TEXT_CHARACTERS_MAX,
    ) -> tuple[str, ...]:
        """A list of distinct texts of 1 to `characters_max` characters."""
        values = self.items(name, low=low, high=high, default=default)
        if not all(isinstance(item, str) and 1 <= len(item) <= characters_max for item in values):
            self.refuse("expected texts", name)
        if len(set(values)) != len(values):
            self.refuse("expected distinct texts", name)
        return tuple(values)

    def fields(self, name: str) -> Fields:
        """A nested object."""
        return Fields(self.take(name), where=self._place(name), error=self._error)

    def each(self, name: str, *, low: int = 0, high: int) -> Iterator[Fields]:
        """A list of nested objects, each checked for leftovers after its turn."""
        for number, item in enumerate(self.items(name, low=low, high=high)):
            nested = Fields(item, where=f"{self._place(name)}[{number}]", error=self._error)
            yield nested
            nested.done()

    def mapping(self, name: str, *, high: int) -> dict[str, Any]:
        """A nested object used as a map from short texts to raw values."""
        value = self.take(name)
        if not isinstance(value, dict) or len(value) > high or not all(1 <= len(key) <= 64 for key in value):
            self.refuse(f"expected an object of at most {high} members", name)
        return value

    def _place(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name

    def _base64(self, name: str, value: Any) -> bytes:
        try:
            return b64url_decode(value)
        except DocumentError as error:
            self.refuse(error.detail, name)

    def _sized(self, name: str, data: bytes, size: int | None, size_max: int | None) -> bytes:
        if size is not None and len(data) != size:
            self.refuse(f"expected {size} bytes, found {len(data)}", name)
        if size_max is not None and len(data) > size_max:
            self.refuse(f"expected at most {size_max} bytes, found {len(data)}", name)
        return data


def is_hex(value: Any) -> TypeGuard[str]:
    """Whether `value` is text of lower-case hex digits, two per byte, nothing else."""
    return isinstance(value, str) and len(value) % 2 == 0 and set(value) <= _HEX_DIGITS


_HEX_DIGITS = frozenset("0123456789abcdef")
