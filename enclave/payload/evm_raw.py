"""Unsigned transactions given as bytes: the canonical encoding of exactly the fields that are signed.

The inverse of `EvmTransaction.unsigned`; whatever does not encode back to the same bytes is refused.
"""

from __future__ import annotations

from typing import NoReturn

from enclave.errors import CallerError
from enclave.payload import rlp
from enclave.payload.evm import DATA_BYTES_MAX, AccessEntry, Authorization, EvmTransaction, check_transaction

_FIELDS = {0: 9, 1: 8, 2: 9, 4: 10}
"""Type -> number of items of the unsigned list."""

RAW_BYTES_MAX = 2 * DATA_BYTES_MAX
"""Largest encoded transaction in bytes."""


def parse_unsigned(data: bytes) -> EvmTransaction:
    """The transaction that `data` encodes; raises CallerError (`payload.evm-raw`, `.rlp`, `.evm-type`)."""
    if not data or len(data) > RAW_BYTES_MAX:
        _refuse(f"expected 1 to {RAW_BYTES_MAX} bytes")
    kind = 0 if data[0] >= 0xC0 else data[0]
    if kind not in _FIELDS or (kind == 0 and data[0] < 0xC0):
        raise CallerError("expected an unsigned transaction of type 0, 1, 2 or 4", code="payload.evm-type")
    items = rlp.decode(data if kind == 0 else data[1:])
    if not isinstance(items, list) or len(items) != _FIELDS[kind]:
        _refuse(f"expected a list of {_FIELDS[kind]} items")
    transaction = _legacy(items) if kind == 0 else _typed(kind, items)
    problem = check_transaction(transaction)
    if problem is not None:
        _refuse(problem)
    if transaction.unsigned() != data:
        _refuse("expected the encoding of an unsigned transaction with its chain id")
    return transaction


def _legacy(items: list[rlp.Decoded]) -> EvmTransaction:
    nonce, price, gas, to, value, call, chain, _, _ = items
    return EvmTransaction(
        type=0,
        chain_id=_integer(chain),
        nonce=_integer(nonce),
        gas=_integer(gas),
        to=_recipient(to),
        value=_integer(value),
        data=_bytes(call),
        gas_price=_integer(price),
    )


def _typed(kind: int, items: list[rlp.Decoded]) -> EvmTransaction:
    chain, nonce, *fees, gas, to, value, call, access = items[: 9 if kind != 1 else 8]
    priced = kind == 1
    return EvmTransaction(
        type=kind,
        chain_id=_integer(chain),
        nonce=_integer(nonce),
        gas=_integer(gas),
        to=_recipient(to),
        value=_integer(value),
        data=_bytes(call),
        gas_price=_integer(fees[0]) if priced else 0,
        max_priority_fee_per_gas=0 if priced else _integer(fees[0]),
        max_fee_per_gas=0 if priced else _integer(fees[1]),
        access_list=tuple(_access(entry) for entry in _list(access)),
        authorizations=tuple(_authorization(entry) for entry in _list(items[9])) if kind == 4 else (),
    )


def _access(item: rlp.Decoded) -> AccessEntry:
    address, keys = _list(item, 2)
    return AccessEntry(address=_bytes(address, 20), storage_keys=tuple(_bytes(key, 32) for key in _list(keys)))


def _authorization(item: rlp.Decoded) -> Authorization:
    chain, address, nonce, parity, r, s = _list(item, 6)
    return Authorization(
        chain_id=_integer(chain),
        address=_bytes(address, 20),
        nonce=_integer(nonce),
        y_parity=_integer(parity),
        r=_integer(r),
        s=_integer(s),
    )


def _recipient(item: rlp.Decoded) -> bytes | None:
    return None if item == b"" else _bytes(item, 20)


def _list(item: rlp.Decoded, size: int | None = None) -> list[rlp.Decoded]:
    if not isinstance(item, list) or (size is not None and len(item) != size):
        _refuse("expected a list")
    return item


def _bytes(item: rlp.Decoded, size: int | None = None) -> bytes:
    if not isinstance(item, bytes) or (size is not None and len(item) != size):
        _refuse("expected bytes of a fixed size")
    return item


def _integer(item: rlp.Decoded) -> int:
    data = _bytes(item)
    if len(data) > 32 or data[:1] == b"\x00":
        _refuse("expected a minimal integer of at most 256 bits")
    return int.from_bytes(data, "big")


def _refuse(detail: str) -> NoReturn:
    raise CallerError(f"raw transaction: {detail}", code="payload.evm-raw")
