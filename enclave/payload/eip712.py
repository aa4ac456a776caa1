"""Typed data (EIP-712): the hash that is signed, from the JSON that wallets exchange.

Stricter than most wallets: every member of a struct is present and none is unknown, integers are in
range, widths are written out (`uint256`, not `uint`), and the domain has exactly its declared fields.
Hashes equal those of the standard for everything that is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from enclave.addresses import keccak256, parse_evm_address
from enclave.errors import CallerError
from enclave.fields import Fields

TYPES_MAX = 64
"""Most struct types of one message, and most members of one type."""

ARRAY_MAX = 4096
"""Most items of one array."""

BRACKETS_MAX = 4
"""Most dimensions of an array."""

_DOMAIN = "EIP712Domain"
_DOMAIN_FIELDS = {
    "name": "string",
    "version": "string",
    "chainId": "uint256",
    "verifyingContract": "address",
    "salt": "bytes32",
}
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,127}")
_ARRAY = re.compile(r"(.+)\[([1-9][0-9]{0,3})?\]")
_INTEGER = re.compile(
    r"(u?)int(8|16|24|32|40|48|56|64|72|80|88|96|104|112|120|128|136|144|152|160|168|176|184|192|200"
    r"|208|216|224|232|240|248|256)"
)
_BYTES = re.compile(r"bytes([1-9]|[12][0-9]|3[0-2])")
_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,77}")
_HEX_INTEGER = re.compile(r"0x[0-9a-fA-F]{1,64}")
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_RESERVED = re.compile(r"u?int[0-9]*|bytes[0-9]*|address|bool|string|function|fixed.*|ufixed.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedData:
    """A checked message: `types` maps struct name to its (member, type) pairs."""

    types: Mapping[str, tuple[tuple[str, str], ...]]
    primary_type: str
    domain: Mapping[str, Any]
    message: Mapping[str, Any]
    digest: bytes
    """The 32-byte hash that is signed."""

    @property
    def type_text(self) -> str:
        """encodeType of the primary type: what a contract's type hash is made from."""
        return _encode_type(self.types, self.primary_type)

    @property
    def chain_id(self) -> int | None:
        """The domain's chain id, or None."""
        value = self.domain.get("chainId")
        return None if value is None else _integer(value, signed=False, bits=256)

    @property
    def verifying_contract(self) -> bytes | None:
        """The domain's contract (20 bytes), or None."""
        value = self.domain.get("verifyingContract")
        return None if value is None else parse_evm_address(value)


def read_typed_data(fields: Fields) -> TypedData:
    """The `typed_data` member of a sign request; raises CallerError (`payload.eip712`) or the reader's error."""
    types = _read_types(fields.mapping("types", high=TYPES_MAX))
    primary = fields.take("primaryType")
    domain, message = fields.take("domain"), fields.take("message")
    fields.done()
    if not isinstance(domain, dict) or not isinstance(message, dict):
        _refuse("expected objects as domain and message")
    declared = tuple((name, kind) for name, kind in _DOMAIN_FIELDS.items() if name in domain)
    types.setdefault(_DOMAIN, declared)
    if any(_DOMAIN_FIELDS.get(name) != kind for name, kind in types[_DOMAIN]):
        _refuse("the domain type has unknown members")
    if not isinstance(primary, str) or primary not in types or primary == _DOMAIN:
        _refuse("expected primaryType to be one of the types")
    encoder = _Encoder(types)
    digest = keccak256(b"\x19\x01" + encoder.struct(_DOMAIN, domain) + encoder.struct(primary, message))
    return TypedData(types=types, primary_type=primary, domain=domain, message=message, digest=digest)


def _read_types(value: Mapping[str, Any]) -> dict[str, tuple[tuple[str, str], ...]]:
    types = {name: _read_members(members) for name, members in value.items()}
    for name, members in types.items():
        if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
            _refuse("expected struct names that are no elementary types")
        for _, kind in members:
            base = _base(kind)
            if base not in types and not _is_elementary(base):
                _refuse(f"type {base[:40]!r} is not defined")
    return types


def _read_members(members: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(members, list) or len(members) > TYPES_MAX:
        _refuse(f"expected a list of at most {TYPES_MAX} members")
    pairs = []
    for member in members:
        if not isinstance(member, dict) or set(member) != {"name", "type"}:
            _refuse("expected name and type of each member")
        name, kind = member["name"], member["type"]
        if not isinstance(name, str) or not isinstance(kind, str) or not _NAME.fullmatch(name) or len(kind) > 160:
            _refuse("expected identifiers as member names and types")
        pairs.append((name, kind))
    if len({name for name, _ in pairs}) != len(pairs):
        _refuse("a type names a member twice")
    return tuple(pairs)


def _base(kind: str) -> str:
    """The element type below all array brackets."""
    brackets = 0
    while (match := _ARRAY.fullmatch(kind)) is not None:
        kind = match[1]
        brackets += 1
        if brackets > BRACKETS_MAX:
            _refuse("arrays are nested too deeply")
    return kind


def _is_elementary(kind: str) -> bool:
    if kind in ("address", "bool", "string", "bytes"):
        return True
    return bool(_INTEGER.fullmatch(kind) or _BYTES.fullmatch(kind))


def _encode_type(types: Mapping[str, tuple[tuple[str, str], ...]], primary: str) -> str:
    """The type's text with its dependencies in alphabetical order (EIP-712, definition of encodeType)."""
    found = {primary}
    waiting = [primary]
    while waiting:
        for _, kind in types[waiting.pop()]:
            base = _base(kind)
            if base in types and base not in found:
                found.add(base)
                waiting.append(base)
    ordered = [primary, *sorted(found - {primary})]
    return "".join(f"{name}({','.join(f'{kind} {member}' for member, kind in types[name])})" for name in ordered)


class _Encoder:
    """hashStruct and encodeData of EIP-712 over one set of types; each type's text is hashed once."""

    def __init__(self, types: Mapping[str, tuple[tuple[str, str], ...]]) -> None:
        self._types = types
        self._hashes: dict[str, bytes] = {}

    def struct(self, name: str, value: Any) -> bytes:
        """The 32-byte hash of a struct."""
        members = self._types[name]
        if not isinstance(value, dict) or value.keys() != {member for member, _ in members}:
            _refuse(f"expected exactly the members of {name}")
        if name not in self._hashes:
            self._hashes[name] = keccak256(_encode_type(self._types, name).encode())
        return keccak256(self._hashes[name] + b"".join(self._member(kind, value[member]) for member, kind in members))

    def _member(self, kind: str, value: Any) -> bytes:
        """One member as 32 bytes."""
        array = _ARRAY.fullmatch(kind)
        if array is not None:
            if not isinstance(value, list) or len(value) > ARRAY_MAX or (array[2] and len(value) != int(array[2])):
                _refuse(f"expected an array of type {kind[:40]}")
            return keccak256(b"".join(self._member(array[1], item) for item in value))
        if kind in self._types:
            return self.struct(kind, value)
        if kind == "string":
            if not isinstance(value, str):
                _refuse("expected text")
            return keccak256(value.encode())
        return keccak256(_bytes(value)) if kind == "bytes" else _atomic(kind, value)


def _atomic(kind: str, value: Any) -> bytes:
    if kind == "bool":
        if type(value) is not bool:
            _refuse("expected true or false")
        return int(value).to_bytes(32, "big")
    if kind == "address":
        try:
            return parse_evm_address(value).rjust(32, b"\x00")
        except CallerError as error:
            _refuse(error.detail)
    integer = _INTEGER.fullmatch(kind)
    if integer is not None:
        signed = not integer[1]
        return (_integer(value, signed=signed, bits=int(integer[2])) % (1 << 256)).to_bytes(32, "big")
    size = int(kind.removeprefix("bytes"))
    data = _bytes(value)
    if len(data) != size:
        _refuse(f"expected {size} bytes, found {len(data)}")
    return data.ljust(32, b"\x00")


def _integer(value: Any, *, signed: bool, bits: int) -> int:
    """A JSON integer, decimal string or 0x hex string, in the type's range."""
    if isinstance(value, str):
        if _DECIMAL.fullmatch(value):
            value = int(value)
        elif _HEX_INTEGER.fullmatch(value):
            value = int(value, 16)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if type(value) is not int or not low <= value <= high:
        _refuse(f"expected an integer of {bits} bits")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        _refuse("expected 0x and hex")
    return bytes.fromhex(value[2:])


def _refuse(detail: str) -> NoReturn:
    raise CallerError(f"typed data: {detail}", code="payload.eip712") from None
