"""EVM transactions: every field from the signed body, hashed here, nothing filled in by anybody.

Types 0 (EIP-155), 1 (EIP-2930), 2 (EIP-1559) and 4 (EIP-7702).  Blob transactions (type 3) are
refused: their sidecar is not part of what is signed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from enclave.addresses import checksum_address, keccak256, parse_evm_address
from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.payload import rlp
from enclave.payload.token_moves import TokenMove, decode_call

DATA_BYTES_MAX = 128 << 10
"""Largest call data in bytes: public nodes do not relay transactions above this size."""

ACCESS_LIST_MAX = 1024
"""Most entries of an access list, and most storage keys of one entry."""

AUTHORIZATIONS_MAX = 64
"""Most EIP-7702 authorizations in one transaction."""

UINT64_MAX = (1 << 64) - 1
UINT256_MAX = (1 << 256) - 1

CHAIN_ID_MAX = UINT64_MAX // 2 - 36
"""Largest chain id whose EIP-155 v value fits 64 bits (EIP-2294)."""

GAS_MIN = 21_000
"""Gas of the cheapest transaction."""

TYPES = (0, 1, 2, 4)

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessEntry:
    """One EIP-2930 access list entry."""

    address: bytes
    storage_keys: tuple[bytes, ...]

    def item(self) -> rlp.Item:
        """RLP form."""
        return [self.address, list(self.storage_keys)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """One signed EIP-7702 authorization carried by a transaction."""

    chain_id: int
    address: bytes
    nonce: int
    y_parity: int
    r: int
    s: int

    def item(self) -> rlp.Item:
        """RLP form."""
        return [self.chain_id, self.address, self.nonce, self.y_parity, self.r, self.s]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """An EIP-7702 authorization to be signed: the signer's account runs the code at `address`."""

    chain_id: int
    """0 is every chain."""
    address: bytes
    nonce: int

    @property
    def digest(self) -> bytes:
        """The 32-byte hash that is signed."""
        return keccak256(b"\x05" + rlp.encode([self.chain_id, self.address, self.nonce]))

    def facts(self) -> dict[str, Any]:
        """JSON-able facts."""
        return {"chain_id": self.chain_id, "address": checksum_address(self.address), "nonce": self.nonce}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvmTransaction:
    """An unsigned transaction; amounts in wei, gas in gas units."""

    type: int
    chain_id: int
    nonce: int
    gas: int
    to: bytes | None
    """20-byte address, None creates a contract."""
    value: int
    data: bytes
    gas_price: int = 0
    """Types 0 and 1."""
    max_fee_per_gas: int = 0
    """Types 2 and 4."""
    max_priority_fee_per_gas: int = 0
    """Types 2 and 4."""
    access_list: tuple[AccessEntry, ...] = ()
    authorizations: tuple[Authorization, ...] = ()

    @property
    def digest(self) -> bytes:
        """The 32-byte hash that is signed."""
        return keccak256(self.unsigned())

    @property
    def fee_max(self) -> int:
        """Most wei the transaction can pay for gas."""
        return self.gas * max(self.gas_price, self.max_fee_per_gas)

    @property
    def token_move(self) -> TokenMove | None:
        """What the call does to a token, if it is exactly a known token call."""
        return None if self.to is None else decode_call(self.to, self.data)

    @property
    def selector(self) -> bytes:
        """First four bytes of the call data (fewer if it is shorter)."""
        return self.data[:4]

    def unsigned(self) -> bytes:
        """The bytes whose hash is signed."""
        if self.type == 0:
            return rlp.encode([*self._items(), self.chain_id, 0, 0])
        return bytes([self.type]) + rlp.encode(self._items())

    def signed(self, r: int, s: int, y_parity: int) -> bytes:
        """The raw transaction with its signature, as nodes of a chain accept it."""
        if self.type == 0:
            return rlp.encode([*self._items(), 35 + 2 * self.chain_id + y_parity, r, s])
        return bytes([self.type]) + rlp.encode([*self._items(), y_parity, r, s])

    def facts(self) -> dict[str, Any]:
        """JSON-able facts; amounts as decimal strings."""
        facts: dict[str, Any] = {
            "type": self.type,
            "chain_id": self.chain_id,
            "nonce": self.nonce,
            "to": None if self.to is None else checksum_address(self.to),
            "value": str(self.value),
            "fee_max": str(self.fee_max),
            "data_bytes": len(self.data),
        }
        if self.data:
            facts["selector"] = "0x" + self.selector.hex()
        move = self.token_move
        if move is not None:
            facts["token_moves"] = [move.facts()]
        if self.authorizations:
            facts["authorizations"] = [checksum_address(item.address) for item in self.authorizations]
        return facts

    def _items(self) -> list[rlp.Item]:
        to = self.to or b""
        access: rlp.Item = [entry.item() for entry in self.access_list]
        fees: list[rlp.Item] = (
            [self.gas_price] if self.type < 2 else [self.max_priority_fee_per_gas, self.max_fee_per_gas]
        )
        call: list[rlp.Item] = [self.nonce, *fees, self.gas, to, self.value, self.data]
        if self.type == 0:
            return call
        if self.type == 4:
            return [self.chain_id, *call, access, [item.item() for item in self.authorizations]]
        return [self.chain_id, *call, access]


def read_transaction(fields: Fields) -> EvmTransaction:
    """The `transaction` member of a sign request; raises the reader's error and `payload.evm-type`."""
    kind = fields.take("type")
    if type(kind) is not int or kind not in TYPES:
        raise CallerError(f"expected a transaction type of {TYPES}", code="payload.evm-type")
    fees = ("gas_price",) if kind < 2 else ("max_fee_per_gas", "max_priority_fee_per_gas")
    transaction = EvmTransaction(
        type=kind,
        chain_id=_quantity(fields, "chain_id", low=1, high=CHAIN_ID_MAX),
        nonce=_quantity(fields, "nonce", high=UINT64_MAX - 1),
        gas=_quantity(fields, "gas", low=GAS_MIN, high=UINT64_MAX),
        to=_recipient(fields),
        value=_quantity(fields, "value", high=UINT256_MAX),
        data=read_data(fields, "data", "0x"),
        access_list=_access_list(fields) if kind >= 1 else (),
        authorizations=_authorizations(fields) if kind == 4 else (),
        **{name: _quantity(fields, name, high=UINT256_MAX) for name in fees},
    )
    fields.done()
    problem = check_transaction(transaction)
    if problem is not None:
        fields.refuse(problem)
    return transaction


def read_delegation(fields: Fields) -> Delegation:
    """The `authorization` member of a sign request; raises the reader's error."""
    delegation = Delegation(
        chain_id=_quantity(fields, "chain_id", high=CHAIN_ID_MAX),
        address=_address(fields, "address"),
        nonce=_quantity(fields, "nonce", high=UINT64_MAX - 1),
    )
    fields.done()
    return delegation


def check_transaction(transaction: EvmTransaction) -> str | None:
    """What is wrong between or with the fields, whichever form they came in; None if nothing is."""
    if not 1 <= transaction.chain_id <= CHAIN_ID_MAX or transaction.nonce >= UINT64_MAX:
        return "chain id or nonce out of range"
    if not GAS_MIN <= transaction.gas <= UINT64_MAX or len(transaction.data) > DATA_BYTES_MAX:
        return "gas or data out of range"
    if transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
        return "priority fee is above the maximum fee"
    if transaction.type == 4 and (transaction.to is None or not transaction.authorizations):
        return "a type 4 transaction has a recipient and authorizations"
    if transaction.to is None and not transaction.data:
        return "creating a contract needs data; is the recipient missing?"
    return None


def _quantity(fields: Fields, name: str, *, low: int = 0, high: int) -> int:
    """A JSON integer, or a decimal string for what JSON integers cannot hold."""
    value = fields.take(name)
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        fields.refuse(f"expected an integer or decimal string from {low} to {high}", name)
    return value


def _recipient(fields: Fields) -> bytes | None:
    return None if fields.optional_null("to") else _address(fields, "to")


def _address(fields: Fields, name: str) -> bytes:
    try:
        return parse_evm_address(fields.take(name))
    except CallerError as error:
        fields.refuse(error.detail, name)


def read_data(fields: Fields, name: str, *default: str) -> bytes:
    """Bytes from a 0x hex member; raises the reader's error."""
    value = fields.take(name, *default)
    if not isinstance(value, str) or len(value) > 4 * DATA_BYTES_MAX + 2 or not _HEX.fullmatch(value):
        fields.refuse("expected 0x and hex", name)
    return bytes.fromhex(value[2:])


def _word(fields: Fields, name: str, value: Any) -> bytes:
    if not isinstance(value, str) or len(value) != 66 or not _HEX.fullmatch(value):
        fields.refuse("expected 0x and 32 bytes of hex", name)
    return bytes.fromhex(value[2:])


def _access_list(fields: Fields) -> tuple[AccessEntry, ...]:
    if "access_list" not in fields:
        return ()
    return tuple(_access_entry(item) for item in fields.each("access_list", high=ACCESS_LIST_MAX))


def _access_entry(fields: Fields) -> AccessEntry:
    address = _address(fields, "address")
    keys: Sequence[Any] = fields.items("storage_keys", high=ACCESS_LIST_MAX)
    return AccessEntry(address=address, storage_keys=tuple(_word(fields, "storage_keys", key) for key in keys))


def _authorizations(fields: Fields) -> tuple[Authorization, ...]:
    return tuple(
        Authorization(
            chain_id=_quantity(item, "chain_id", high=UINT64_MAX),
            address=_address(item, "address"),
            nonce=_quantity(item, "nonce", high=UINT64_MAX - 1),
            y_parity=item.integer("y_parity", 0, 1),
            r=int.from_bytes(_word(item, "r", item.take("r")), "big"),
            s=int.from_bytes(_word(item, "s", item.take("s")), "big"),
        )
        for item in fields.each("authorization_list", low=1, high=AUTHORIZATIONS_MAX)
    )
