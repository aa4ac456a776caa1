"""One condition of a rule, and the readers of values that several conditions share."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from enclave.addresses import parse_evm_address, parse_solana_address
from enclave.errors import CallerError
from enclave.fields import Fields

LIST_MAX = 4096
"""Most entries of one list in a rule."""

_AMOUNT = re.compile(r"0|[1-9][0-9]{0,77}")


Words: TypeAlias = "str | Callable[[], str]"
"""A text, or how to make it."""


class Check(NamedTuple):
    """One condition, whether it holds, and what was expected and found.

    Words are made only when somebody reads them: a decision is on the path of every signature, and
    spelling one address costs more than all comparisons of a rule.
    """

    leaf: str
    holds: bool
    words: Words

    @property
    def detail(self) -> str:
        """What was expected and found, for people."""
        return self.words if isinstance(self.words, str) else self.words()


def listed(leaf: str, holds: bool, what: str, value: object = "", spell: Callable[[Any], str] = str) -> Check:
    """A check against a list: `value`, spelt by `spell`, is a `what`."""
    return Check(leaf, holds, partial(_listed, holds, what, value, spell))


def capped(leaf: str, found: int, cap: int, unit: str) -> Check:
    """A check against a cap."""
    return Check(leaf, found <= cap, partial(_capped, found, cap, unit))


def _listed(holds: bool, what: str, value: object, spell: Callable[[Any], str]) -> str:
    return f"{what} {spell(value)}".rstrip() + (" is in the list" if holds else " is not in the list")


def _capped(found: int, cap: int, unit: str) -> str:
    return f"{found} {unit}, at most {cap}"


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
