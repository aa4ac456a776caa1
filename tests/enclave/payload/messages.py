"""Solana messages made with solders, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

PAYER = Pubkey.from_bytes(b"\x11" * 32)
RECIPIENT = Pubkey.from_bytes(b"\x22" * 32)
BLOCKHASH = Hash.from_bytes(b"\x33" * 32)


def legacy(instructions: Sequence[Instruction]) -> bytes:
    """A legacy message paid by PAYER."""
    return bytes(Message.new_with_blockhash(list(instructions), PAYER, BLOCKHASH))


def pay(lamports: int = 1000, to: Pubkey = RECIPIENT) -> Instruction:
    """A system transfer."""
    return transfer(TransferParams(from_pubkey=PAYER, to_pubkey=to, lamports=lamports))


def transfer_message(lamports: int = 1000) -> bytes:
    """A legacy message with one transfer."""
    return legacy([pay(lamports)])
