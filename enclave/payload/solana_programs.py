"""What instructions of well-known Solana programs do: who pays whom, or that a signer gives power away.

Only instructions decoded here in full are `transfer` or `harmless`; every other instruction of a
known program is `other`, and instructions of unknown programs are `opaque`.  A policy has to name
what it allows of both.  An `other` instruction that pays somebody still says whom and how much, so
that caps and lists hold where a policy allows such instructions: programs ignore trailing bytes, and
lamports leave an account by more than one instruction.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from enclave.addresses import parse_solana_address, solana_address

SYSTEM = parse_solana_address("11111111111111111111111111111111")
TOKEN = parse_solana_address("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = parse_solana_address("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ASSOCIATED_TOKEN = parse_solana_address("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
COMPUTE_BUDGET = parse_solana_address("ComputeBudget111111111111111111111111111111")
MEMO = parse_solana_address("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")

KNOWN_PROGRAMS = frozenset({SYSTEM, TOKEN, TOKEN_2022, ASSOCIATED_TOKEN, COMPUTE_BUDGET, MEMO})


class EffectKind(StrEnum):
    """What an instruction amounts to."""

    TRANSFER = "transfer"
    """Lamports leave an account."""
    TOKEN_TRANSFER = "token-transfer"  # noqa: S105 - a kind of instruction
    HARMLESS = "harmless"
    """Moves nothing and grants nothing (memo, compute budget; its price counts as fee)."""
    OTHER = "other"
    """A known program, but an instruction that does something else (assign, approve, close ...)."""
    OPAQUE = "opaque"
    """A program that is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect of one instruction; accounts are 32 raw bytes or None if a lookup table supplies them."""

    kind: EffectKind
    program: bytes
    name: str
    moves: EffectKind | None = None
    """`transfer` or `token-transfer` if it pays `recipient`, whatever else it does."""
    source: bytes | None = None
    recipient: bytes | None = None
    """For token transfers the token account, not its owner."""
    lamports: int = 0
    amount: int = 0
    """Base units of a token."""
    mint: bytes | None = None
    """Only where the instruction states it."""
    unit_limit: int | None = None
    """Compute units the message asks for."""
    unit_price: int | None = None
    """Micro-lamports it pays per compute unit, on top of the base fee."""

    def facts(self) -> dict[str, Any]:
        """JSON-able facts; amounts as decimal strings."""
        facts: dict[str, Any] = {"kind": str(self.kind), "program": solana_address(self.program), "name": self.name}
        for name in ("source", "recipient", "mint"):
            account = getattr(self, name)
            if account is not None:
                facts[name] = solana_address(account)
        if self.moves is EffectKind.TRANSFER:
            facts["lamports"] = str(self.lamports)
        if self.moves is EffectKind.TOKEN_TRANSFER:
            facts["amount"] = str(self.amount)
        return facts


def decode_instruction(program: bytes, accounts: Sequence[bytes | None], data: bytes) -> Effect:
    """The effect of one instruction; never raises: what does not decode is `other` or `opaque`."""
    if program == SYSTEM:
        return _system(accounts, data)
    if program in (TOKEN, TOKEN_2022):
        return _token(program, accounts, data)
    if program == COMPUTE_BUDGET:
        return _compute_budget(data)
    if program == MEMO:
        return Effect(kind=EffectKind.HARMLESS, program=program, name="memo")
    if program == ASSOCIATED_TOKEN:
        return Effect(kind=EffectKind.OTHER, program=program, name="associated-token")
    return Effect(kind=EffectKind.OPAQUE, program=program, name="unknown")


_SYSTEM_NAMES = {
    0: "create-account",
    1: "assign",
    3: "create-account-with-seed",
    4: "advance-nonce",
    5: "withdraw-nonce",
    6: "initialize-nonce",
    7: "authorize-nonce",
    8: "allocate",
    9: "allocate-with-seed",
    10: "assign-with-seed",
    11: "transfer-with-seed",
    12: "upgrade-nonce",
}


def _system(accounts: Sequence[bytes | None], data: bytes) -> Effect:
    """System program: bincode, u32 little-endian discriminant (solana-system-interface, SystemInstruction)."""
    number = int.from_bytes(data[:4], "little") if len(data) >= 4 else -1
    is_plain = number == 2 and len(data) == 12 and len(accounts) >= 2
    kind = EffectKind.TRANSFER if is_plain else EffectKind.OTHER
    name = "transfer" if is_plain else _SYSTEM_NAMES.get(number, "unknown")
    paid = _SYSTEM_PAID.get(number)
    offset = 4 if number != _CREATE_WITH_SEED else _after_seed(data)
    if paid is None or len(accounts) <= paid or len(data) < offset + 8:
        return Effect(kind=kind, program=SYSTEM, name=name)
    return Effect(
        kind=kind,
        program=SYSTEM,
        name=name,
        moves=EffectKind.TRANSFER,
        source=accounts[0],
        recipient=accounts[paid],
        lamports=int.from_bytes(data[offset : offset + 8], "little"),
    )


_CREATE_WITH_SEED = 3

_SYSTEM_PAID = {0: 1, 2: 1, _CREATE_WITH_SEED: 1, 5: 1, 11: 2}
"""Instruction that takes lamports from its first account -> which of its accounts gets them."""


def _after_seed(data: bytes) -> int:
    """Where create-account-with-seed states its lamports: after base (32 bytes) and seed (u64 length, text)."""
    return 4 + 32 + 8 + int.from_bytes(data[36:44], "little")


def _compute_budget(data: bytes) -> Effect:
    """Compute budget program: u8 discriminant (ComputeBudgetInstruction); limits are harmless, price is a fee."""
    if len(data) == 5 and data[0] in (1, 2, 4):
        limit = int.from_bytes(data[1:], "little") if data[0] == 2 else None
        return Effect(kind=EffectKind.HARMLESS, program=COMPUTE_BUDGET, name="limit", unit_limit=limit)
    if len(data) == 9 and data[0] == 3:
        price = int.from_bytes(data[1:], "little")
        return Effect(kind=EffectKind.HARMLESS, program=COMPUTE_BUDGET, name="price", unit_price=price)
    return Effect(kind=EffectKind.OTHER, program=COMPUTE_BUDGET, name="unknown")


_TOKEN_NAMES = {
    4: "approve",
    5: "revoke",
    6: "set-authority",
    7: "mint-to",
    8: "burn",
    9: "close-account",
    13: "approve-checked",
}


def _token(program: bytes, accounts: Sequence[bytes | None], data: bytes) -> Effect:
    """SPL Token: u8 discriminant (TokenInstruction); only the two plain transfers are decoded."""
    number = data[0] if data else -1
    if number == 3 and len(data) >= 9 and len(accounts) >= 3:
        (amount,) = struct.unpack("<Q", data[1:9])
        name = "transfer" if len(data) == 9 else ""
        return _token_transfer(program, name, accounts[0], accounts[1], amount, None)
    if number == 12 and len(data) >= 10 and len(accounts) >= 4:
        (amount,) = struct.unpack("<Q", data[1:9])
        name = "transfer-checked" if len(data) == 10 else ""
        return _token_transfer(program, name, accounts[0], accounts[2], amount, accounts[1])
    if data[:2] == _TRANSFER_WITH_FEE and len(data) >= 10 and len(accounts) >= 4:
        (amount,) = struct.unpack("<Q", data[2:10])
        return _token_transfer(program, "", accounts[0], accounts[2], amount, accounts[1])
    return Effect(kind=EffectKind.OTHER, program=program, name=_TOKEN_NAMES.get(number, "unknown"))


_TRANSFER_WITH_FEE = bytes([26, 1])
"""Token-2022, transfer fee extension: TransferCheckedWithFee."""


def _token_transfer(
    program: bytes, name: str, source: bytes | None, recipient: bytes | None, amount: int, mint: bytes | None
) -> Effect:
    """A transfer; without a name it is not a plain one, so it has to be allowed as such too."""
    return Effect(
        kind=EffectKind.TOKEN_TRANSFER if name else EffectKind.OTHER,
        program=program,
        name=name or "unknown",
        moves=EffectKind.TOKEN_TRANSFER,
        source=source,
        recipient=recipient,
        amount=amount,
        mint=mint,
    )
