"""The conditions a rule is made of: each says in one line whether it holds for a request, and why.

Rules kept: a fact that is unknown (an account from a lookup table, a token without a mint) never
satisfies an allow-list; call data, contract creation, delegation and instructions that are not
understood need to be named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from enclave.addresses import checksum_address, solana_address
from enclave.payload.evm import EvmTransaction
from enclave.payload.solana import SolanaMessage
from enclave.payload.solana_programs import Effect, EffectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition, whether it holds, and what was expected and found."""

    leaf: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvmLeaf:
    """Conditions on an EVM transaction; None means that the rule does not restrict it."""

    chain_ids: frozenset[int] | None = None
    recipients: frozenset[bytes] | None = None
    value_max: int | None = None
    fee_max: int | None = None
    contract_creation: bool = False
    data_any: bool = False
    selectors: frozenset[bytes] = frozenset()
    set_code: bool = False

    def checks(self, transaction: EvmTransaction) -> Iterator[Check]:
        """Every condition of an allow rule."""
        if self.chain_ids is not None:
            yield _listed("evm.chain_ids", transaction.chain_id in self.chain_ids, f"chain {transaction.chain_id}")
        yield from self._target(transaction)
        if self.value_max is not None:
            yield _capped("evm.value_max", transaction.value, self.value_max, "wei")
        if self.fee_max is not None:
            yield _capped("evm.fee_max", transaction.fee_max, self.fee_max, "wei of fees")
        yield self._data(transaction)
        if transaction.authorizations:
            yield Check(leaf="evm.set_code", holds=self.set_code, detail="transaction delegates an account to code")

    def touches(self, transaction: EvmTransaction) -> Iterator[Check]:
        """Every condition of a deny rule: it applies when all of them hold."""
        if self.chain_ids is not None:
            yield _listed("evm.chain_ids", transaction.chain_id in self.chain_ids, f"chain {transaction.chain_id}")
        if self.recipients is not None:
            yield _listed("evm.recipients", transaction.to in self.recipients, f"recipient {_evm(transaction.to)}")
        if self.selectors:
            found = "0x" + transaction.selector.hex()
            yield _listed("evm.selectors", transaction.selector in self.selectors, f"selector {found}")

    def _target(self, transaction: EvmTransaction) -> Iterator[Check]:
        if transaction.to is None:
            yield Check(leaf="evm.contract_creation", holds=self.contract_creation, detail="creates a contract")
        elif self.recipients is not None:
            yield _listed("evm.recipients", transaction.to in self.recipients, f"recipient {_evm(transaction.to)}")

    def _data(self, transaction: EvmTransaction) -> Check:
        if not transaction.data or self.data_any or (transaction.to is None and self.contract_creation):
            return Check(leaf="evm.data", holds=True, detail="call data is empty or allowed")
        found = "0x" + transaction.selector.hex()
        if self.selectors:
            return _listed("evm.selectors", transaction.selector in self.selectors, f"selector {found}")
        return Check(leaf="evm.data", holds=False, detail=f"call data (selector {found}) is not allowed")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTerms:
    """What may be sent of one SPL token."""

    recipients: frozenset[bytes] | None
    amount_max: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SolanaLeaf:
    """Conditions on a Solana message; None means that the rule does not restrict it."""

    programs: frozenset[bytes] | None = None
    recipients: frozenset[bytes] | None = None
    lamports_max: int | None = None
    fee_max: int | None = None
    tokens_any: bool = False
    tokens: Mapping[bytes, TokenTerms] | None = None
    instructions_any: bool = False

    def checks(self, message: SolanaMessage) -> Iterator[Check]:
        """Every condition of an allow rule."""
        effects = message.effects()
        for effect in effects:
            if effect.kind is not EffectKind.HARMLESS:
                yield from self._effect(effect)
        if self.lamports_max is not None:
            yield _capped("solana.lamports_max", sum(item.lamports for item in effects), self.lamports_max, "lamports")
        if self.fee_max is not None:
            yield _capped("solana.fee_max", message.fee_max, self.fee_max, "lamports of fees")
        yield from self._amounts(effects)

    def touches(self, message: SolanaMessage) -> Iterator[Check]:
        """Every condition of a deny rule; an unknown account counts as touched."""
        if self.programs is not None:
            programs = {instruction.program for instruction in message.instructions}
            yield _listed("solana.programs", bool(programs & self.programs), "programs of the message")
        if self.recipients is not None:
            moved = [item.recipient for item in message.effects() if item.kind in _MOVES]
            known = any(account is None or account in self.recipients for account in moved)
            yield _listed("solana.recipients", known, "recipients of the message")

    def _effect(self, effect: Effect) -> Iterator[Check]:
        if self.programs is not None:
            named = effect.program in self.programs
            yield _listed("solana.programs", named, f"program {solana_address(effect.program)}")
        if effect.kind is EffectKind.OPAQUE and self.programs is None:
            detail = f"program {solana_address(effect.program)} is not understood and not named"
            yield Check(leaf="solana.programs", holds=False, detail=detail)
        if effect.kind is EffectKind.OTHER:
            detail = f"instruction {effect.name} of {solana_address(effect.program)} is not a plain transfer"
            yield Check(leaf="solana.instructions", holds=self.instructions_any, detail=detail)
        if effect.kind is EffectKind.TRANSFER and self.recipients is not None:
            yield _listed("solana.recipients", effect.recipient in self.recipients, _paid(effect))
        if effect.kind is EffectKind.TOKEN_TRANSFER:
            yield self._token(effect)

    def _token(self, effect: Effect) -> Check:
        if self.tokens_any:
            allowed = self.recipients is None or effect.recipient in self.recipients
            return _listed("solana.recipients", allowed, _paid(effect))
        terms = (self.tokens or {}).get(effect.mint or b"")
        if terms is None:
            return Check(leaf="solana.tokens", holds=False, detail="token is not named by the rule or by the message")
        allowed = terms.recipients is None or effect.recipient in terms.recipients
        return _listed("solana.tokens.recipients", allowed, _paid(effect))

    def _amounts(self, effects: tuple[Effect, ...]) -> Iterator[Check]:
        for mint, terms in (self.tokens or {}).items():
            if terms.amount_max is not None:
                moved = sum(effect.amount for effect in effects if effect.mint == mint)
                yield _capped("solana.tokens.amount_max", moved, terms.amount_max, "base units")


_MOVES = (EffectKind.TRANSFER, EffectKind.TOKEN_TRANSFER)


def _listed(leaf: str, holds: bool, what: str) -> Check:
    return Check(leaf=leaf, holds=holds, detail=f"{what} {'is' if holds else 'is not'} in the list")


def _capped(leaf: str, found: int, cap: int, unit: str) -> Check:
    return Check(leaf=leaf, holds=found <= cap, detail=f"{found} {unit}, at most {cap}")


def _evm(address: bytes | None) -> str:
    return "none" if address is None else checksum_address(address)


def _paid(effect: Effect) -> str:
    known = "from a lookup table" if effect.recipient is None else solana_address(effect.recipient)
    return f"recipient {known}"
