"""Conditions on EVM transactions and typed data.

Rules kept: call data, contract creation, delegation and typed data need to be named; a call or
permit that moves a token the rule lists has to meet that token's terms, and a call of a contract
under `calls` the terms of its function, whatever else is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from enclave.addresses import checksum_address
from enclave.fields import Fields
from enclave.payload.eip712 import TypedData
from enclave.payload.evm import Delegation, EvmTransaction
from enclave.payload.token_moves import MoveKind, TokenMove
from enclave.policy.calls_leaf import CallList, call_checks, read_calls
from enclave.policy.checks import (
    LIST_MAX,
    Check,
    capped,
    listed,
    read_address,
    read_addresses,
    read_amount,
    read_chain_ids,
)

TOKENS_MAX = 256
"""Most tokens of one rule."""

_SELECTOR = re.compile(r"0x[0-9a-f]{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTerms:
    """What may be done with one token."""

    recipients: frozenset[bytes] | None
    """None takes the rule's own recipients."""
    amount_max: int | None
    approvals: bool
    """Whether spenders may be approved; each then counts as a recipient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvmLeaf:
    """Conditions of the member `evm`; None means that the rule does not restrict it."""

    chain_ids: frozenset[int] | None = None
    recipients: frozenset[bytes] | None = None
    value_max: int | None = None
    fee_max: int | None = None
    contract_creation: bool = False
    data_any: bool = False
    selectors: frozenset[bytes] = frozenset()
    tokens: Mapping[bytes, TokenTerms] | None = None
    calls: CallList | None = None
    """Contracts whose call data is decoded."""
    set_code: bool = False
    primary_types: frozenset[str] = frozenset()
    contracts: frozenset[bytes] | None = None
    """Contracts typed data may be for."""
    delegates: frozenset[bytes] = frozenset()
    """Code the account may be delegated to; none unless named."""

    def misses(self, transaction: EvmTransaction) -> bool:
        """Whether an allow rule surely fails: the chain and the called contract alone rule out nearly all rules.

        A shortcut only: True means that one of `checks` does not hold, False means nothing.
        """
        if self.chain_ids is not None and transaction.chain_id not in self.chain_ids:
            return True
        to = transaction.to
        return (
            self.recipients is not None
            and to is not None
            and to not in self.recipients
            and to not in (self.tokens or ())
            and to not in (self.calls or ())
        )

    def checks(self, transaction: EvmTransaction) -> Iterator[Check]:
        """Every condition of an allow rule on a transaction."""
        if self.chain_ids is not None:
            yield listed("evm.chain_ids", transaction.chain_id in self.chain_ids, "chain", transaction.chain_id)
        if transaction.data and transaction.to in (self.tokens or {}):
            move = transaction.token_move
            if move is None:
                detail = "a call of a listed token that is no plain transfer or approval"
                yield Check("evm.tokens", False, detail)
            else:
                yield from self._moves([move])
        elif transaction.data and transaction.to is not None and transaction.to in (self.calls or {}):
            yield from call_checks((self.calls or {})[transaction.to], transaction.data)
        else:
            yield from self._call(transaction)
        if self.value_max is not None:
            yield capped("evm.value_max", transaction.value, self.value_max, "wei")
        if self.fee_max is not None:
            yield capped("evm.fee_max", transaction.fee_max, self.fee_max, "wei of fees")
        if transaction.authorizations:
            yield Check("evm.set_code", self.set_code, "transaction delegates an account to code")

    def typed_checks(self, data: TypedData, moves: Sequence[TokenMove]) -> Iterator[Check]:
        """Every condition of an allow rule on typed data."""
        if self.chain_ids is not None:
            yield listed("evm.chain_ids", data.chain_id in self.chain_ids, "chain", data.chain_id)
        if self.contracts is not None:
            contract = data.verifying_contract
            yield listed("evm.contracts", contract in self.contracts, "contract", contract, _text)
        if moves:
            yield from self._moves(moves)
        else:
            named = data.primary_type in self.primary_types
            yield listed("evm.primary_types", named, "typed data", data.primary_type[:64])

    def delegation_checks(self, delegation: Delegation) -> Iterator[Check]:
        """Every condition of an allow rule on an EIP-7702 authorization; chain 0 is on no list of chains."""
        if self.chain_ids is not None:
            yield listed("evm.chain_ids", delegation.chain_id in self.chain_ids, "chain", delegation.chain_id)
        yield listed("evm.delegates", delegation.address in self.delegates, "code", delegation.address, _text)

    def touches(self, chain_id: int | None, reached: Sequence[bytes | None], selector: bytes) -> Iterator[Check]:
        """Every condition of a deny rule: it applies when all of them hold.

        `reached` are the recipient of a transaction or the contract of typed data, and all
        recipients and spenders of token moves in either.
        """
        if self.chain_ids is not None:
            # Typed data without a chain id, and an authorization for chain 0, are valid on every chain.
            yield listed("evm.chain_ids", not chain_id or chain_id in self.chain_ids, "chain", chain_id)
        if self.recipients is not None:
            touched = any(address in self.recipients for address in reached)
            yield listed("evm.recipients", touched, "one of the recipients")
        if self.selectors:
            yield listed("evm.selectors", selector in self.selectors, "selector", selector, _hex)

    def _call(self, transaction: EvmTransaction) -> Iterator[Check]:
        if transaction.to is None:
            yield Check("evm.contract_creation", self.contract_creation, "creates a contract")
            return
        if self.recipients is not None:
            yield listed("evm.recipients", transaction.to in self.recipients, "recipient", transaction.to, _text)
        elif self.calls is not None:
            # A rule about calls says which contracts it is about: no payments to anybody else by the way.
            named = transaction.to in self.calls or transaction.to in (self.tokens or {})
            yield listed("evm.recipients", named, "recipient", transaction.to, _text)
        if self.selectors and transaction.data:
            allowed = transaction.selector in self.selectors
            yield listed("evm.selectors", allowed, "selector", transaction.selector, _hex)
        else:
            holds = self.data_any or not transaction.data
            words = (
                "call data is empty or allowed" if holds else f"call data ({_hex(transaction.selector)}) is not allowed"
            )
            yield Check("evm.data", holds, words)

    def _moves(self, moves: Sequence[TokenMove]) -> Iterator[Check]:
        totals: dict[bytes, int] = {}
        for move in moves:
            terms = (self.tokens or {}).get(move.token)
            if terms is None:
                yield listed("evm.tokens", False, "token", move.token, _text)
                continue
            if move.kind is MoveKind.APPROVAL:
                yield Check("evm.tokens.approvals", terms.approvals, "approves a spender")
            recipients = self.recipients if terms.recipients is None else terms.recipients
            if recipients is not None:
                allowed = move.recipient in recipients
                yield listed("evm.tokens.recipients", allowed, "recipient", move.recipient, _text)
            totals[move.token] = totals.get(move.token, 0) + move.amount
            if terms.amount_max is not None:
                yield capped("evm.tokens.amount_max", totals[move.token], terms.amount_max, "base units")


def read_evm(fields: Fields, *, denies: bool) -> EvmLeaf:
    """The `evm` member of a rule; raises the reader's error."""
    chain_ids, recipients = read_chain_ids(fields), read_addresses(fields, "recipients")
    selectors = _read_selectors(fields)
    if denies:
        fields.done()
        return EvmLeaf(chain_ids=chain_ids, recipients=recipients, selectors=selectors)
    leaf = EvmLeaf(
        chain_ids=chain_ids,
        recipients=recipients,
        selectors=selectors,
        value_max=read_amount(fields, "value_max"),
        fee_max=read_amount(fields, "fee_max"),
        contract_creation=fields.boolean("contract_creation", False),
        data_any=fields.choice("data", ("none", "any"), "none") == "any",
        tokens=_read_tokens(fields) if "tokens" in fields else None,
        calls=read_calls(fields) if "calls" in fields else None,
        set_code=fields.boolean("set_code", False),
        primary_types=frozenset(fields.texts("primary_types", low=1, high=TOKENS_MAX, default=())),
        contracts=read_addresses(fields, "contracts"),
        delegates=read_addresses(fields, "delegates") or frozenset(),
    )
    fields.done()
    if leaf.data_any and leaf.selectors:
        fields.refuse("data any makes the selectors useless; keep one", "selectors")
    if not (leaf.tokens or {}).keys().isdisjoint(leaf.calls or {}):
        fields.refuse("a contract cannot be read both as token and by its calls; keep one", "calls")
    return leaf


def _read_tokens(fields: Fields) -> dict[bytes, TokenTerms]:
    tokens: dict[bytes, TokenTerms] = {}
    for item in fields.each("tokens", low=1, high=TOKENS_MAX):
        token = read_address(item, "token", item.take("token"))
        if token in tokens:
            item.refuse("this token is named twice", "token")
        tokens[token] = TokenTerms(
            recipients=read_addresses(item, "recipients"),
            amount_max=read_amount(item, "amount_max"),
            approvals=item.boolean("approvals", False),
        )
    return tokens


def _read_selectors(fields: Fields) -> frozenset[bytes]:
    if "selectors" not in fields:
        return frozenset()
    values = fields.texts("selectors", low=1, high=LIST_MAX)
    if not all(_SELECTOR.fullmatch(value) for value in values):
        fields.refuse("expected 0x and 8 lower-case hex digits", "selectors")
    return frozenset(bytes.fromhex(value[2:]) for value in values)


def _text(address: bytes | None) -> str:
    return "none" if address is None else checksum_address(address)


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
