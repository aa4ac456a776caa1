"""Conditions on Solana messages.

Rules kept: an account from a lookup table is on no allow-list and on every deny-list; instructions
that are not plain transfers, and programs that are not understood, need to be named; what pays
somebody meets lists and caps, plain or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from enclave.addresses import solana_address
from enclave.fields import Fields
from enclave.payload.solana import SolanaMessage
from enclave.payload.solana_programs import Effect, EffectKind
from enclave.policy.checks import Check, capped, listed, read_account, read_accounts, read_amount

TOKENS_MAX = 256
"""Most tokens of one rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTerms:
    """What may be sent of one SPL token."""

    recipients: frozenset[bytes] | None
    """None takes the rule's own recipients."""
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
            yield capped("solana.lamports_max", sum(item.lamports for item in effects), self.lamports_max, "lamports")
        if self.fee_max is not None:
            yield capped("solana.fee_max", message.fee_max, self.fee_max, "lamports of fees")
        yield from self._amounts(effects)

    def touches(self, message: SolanaMessage) -> Iterator[Check]:
        """Every condition of a deny rule; an unknown account counts as touched."""
        if self.programs is not None:
            programs = {instruction.program for instruction in message.instructions}
            yield listed("solana.programs", bool(programs & self.programs), "programs of the message")
        if self.recipients is not None:
            moved = [item.recipient for item in message.effects() if item.moves is not None]
            known = any(account is None or account in self.recipients for account in moved)
            yield listed("solana.recipients", known, "recipients of the message")

    def _effect(self, effect: Effect) -> Iterator[Check]:
        if self.programs is not None:
            named = effect.program in self.programs
            yield listed("solana.programs", named, "program", effect.program, solana_address)
        if effect.kind is EffectKind.OPAQUE and self.programs is None:
            yield Check("solana.programs", False, partial(_opaque, effect))
        if effect.kind is EffectKind.OTHER:
            yield Check("solana.instructions", self.instructions_any, partial(_not_plain, effect))
        if effect.moves is EffectKind.TRANSFER and self.recipients is not None:
            yield listed(
                "solana.recipients", effect.recipient in self.recipients, "recipient", effect.recipient, _account
            )
        if effect.moves is EffectKind.TOKEN_TRANSFER:
            yield self._token(effect)

    def _token(self, effect: Effect) -> Check:
        if self.tokens_any:
            allowed = self.recipients is None or effect.recipient in self.recipients
            return listed("solana.recipients", allowed, "recipient", effect.recipient, _account)
        terms = (self.tokens or {}).get(effect.mint or b"")
        if terms is None:
            return Check("solana.tokens", False, "token is not named by the rule or by the message")
        recipients = self.recipients if terms.recipients is None else terms.recipients
        allowed = recipients is None or effect.recipient in recipients
        return listed("solana.tokens.recipients", allowed, "recipient", effect.recipient, _account)

    def _amounts(self, effects: tuple[Effect, ...]) -> Iterator[Check]:
        for mint, terms in (self.tokens or {}).items():
            if terms.amount_max is not None:
                moved = sum(effect.amount for effect in effects if effect.mint == mint)
                yield capped("solana.tokens.amount_max", moved, terms.amount_max, "base units")


def read_solana(fields: Fields, *, denies: bool) -> SolanaLeaf:
    """The `solana` member of a rule; raises the reader's error."""
    programs = read_accounts(fields, "programs")
    recipients = read_accounts(fields, "recipients")
    if denies:
        fields.done()
        return SolanaLeaf(programs=programs, recipients=recipients)
    tokens_any = fields.peek("tokens") == "any"
    if tokens_any:
        fields.take("tokens")
    leaf = SolanaLeaf(
        programs=programs,
        recipients=recipients,
        lamports_max=read_amount(fields, "lamports_max"),
        fee_max=read_amount(fields, "fee_max"),
        tokens_any=tokens_any,
        tokens=_read_tokens(fields) if "tokens" in fields else None,
        instructions_any=fields.choice("instructions", ("known", "any"), "known") == "any",
    )
    fields.done()
    return leaf


def _read_tokens(fields: Fields) -> dict[bytes, TokenTerms]:
    tokens: dict[bytes, TokenTerms] = {}
    for item in fields.each("tokens", low=1, high=TOKENS_MAX):
        mint = read_account(item, "mint", item.take("mint"))
        if mint in tokens:
            item.refuse("this mint is named twice", "mint")
        tokens[mint] = TokenTerms(
            recipients=read_accounts(item, "recipients"), amount_max=read_amount(item, "amount_max")
        )
    return tokens


def _account(account: bytes | None) -> str:
    return "from a lookup table" if account is None else solana_address(account)


def _opaque(effect: Effect) -> str:
    return f"program {solana_address(effect.program)} is not understood and not named"


def _not_plain(effect: Effect) -> str:
    return f"instruction {effect.name} of {solana_address(effect.program)} is not a plain transfer"
