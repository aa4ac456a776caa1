"""One condition of a rule, and the readers of values that several conditions share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from enclave.addresses import parse_evm_address, parse_solana_address
from enclave.errors import CallerError
from enclave.fields import Fields

LIST_MAX = 4096
"""Most entries of one list in a rule."""

_AMOUNT = re.compile(r"0|[1-9][0-9]{0,77}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition, whether it holds, and what was expected and found."""

    leaf: str
    holds: bool
    detail: str


def listed(leaf: str, holds: bool, what: str) -> Check:
    """A check against a list."""
    return Check(leaf=leaf, holds=holds, detail=f"{what} {'is' if holds else 'is not'} in the list")


def capped(leaf: str, found: int, cap: int, unit: str) -> Check:
    """A check against a cap."""
    return Check(leaf=leaf, holds=found <= cap, detail=f"{found} {unit}, at most {cap}")


def read_amount(fields: Fields, name: str) -> int | None:
    """An optional amount as decimal string; raises the reader's error."""
    if name not in fields:
        return None
    value = fields.take(name)
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        fields.refuse("expected a decimal string of base units", name)
    return int(value)


def read_addresses(fields: Fields, name: str) -> frozenset[bytes] | None:
    """An optional list of EVM addresses, as 20 bytes each; raises the reader's error."""
    if name not in fields:
        return None
    return frozenset(read_address(fields, name, value) for value in fields.items(name, low=1, high=LIST_MAX))


def read_address(fields: Fields, name: str, value: Any) -> bytes:
    """One EVM address; raises the reader's error."""
    try:
        return parse_evm_address(value)
    except CallerError as error:
        fields.refuse(error.detail, name)


def read_accounts(fields: Fields, name: str) -> frozenset[bytes] | None:
    """An optional list of Solana accounts, as 32 bytes each; raises the reader's error."""
    if name not in fields:
        return None
    return frozenset(read_account(fields, name, value) for value in fields.items(name, low=1, high=LIST_MAX))


def read_account(fields: Fields, name: str, value: Any) -> bytes:
    """One Solana account; raises the reader's error."""
    try:
        return parse_solana_address(value)
    except CallerError as error:
        fields.refuse(error.detail, name)


def read_chain_ids(fields: Fields) -> frozenset[int] | None:
    """The optional member `chain_ids`; raises the reader's error."""
    if "chain_ids" not in fields:
        return None
    values = fields.items("chain_ids", low=1, high=256)
    if not all(type(value) is int and value >= 1 for value in values):
        fields.refuse("expected chain ids as integers", "chain_ids")
    return frozenset(values)
