"""Solana messages, legacy and version 0: parsed to the last byte, with the facts of known instructions.

Accepted is only what a validator would accept as a message: canonical lengths, consistent header,
indexes in range, no repeated account, no trailing bytes.  Accounts that a lookup table would supply
are unknown to the signer, so they are None here and no allow-list matches them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from enclave.addresses import solana_address
from enclave.errors import CallerError
from enclave.payload.compact import Cursor
from enclave.payload.solana_programs import Effect, decode_instruction

MESSAGE_BYTES_MAX = 1232
"""Largest packet a validator accepts (IPv6 minimum MTU less headers); a message is smaller still."""

SIGNATURE_FEE = 5000
"""Base fee in lamports per signature."""

UNITS_MAX = 1_400_000
"""Most compute units of one transaction; assumed where a message sets a price but no limit."""

_VERSIONED = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction with its accounts resolved; None stands for an account from a lookup table."""

    program: bytes
    accounts: tuple[bytes | None, ...]
    data: bytes

    def effect(self) -> Effect:
        """What it does, as far as the program is known here."""
        return decode_instruction(self.program, self.accounts, self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolanaMessage:
    """A parsed message; keys are 32 raw bytes."""

    version: int | None
    """None for the legacy form, else 0."""
    signers: tuple[bytes, ...]
    accounts: tuple[bytes, ...]
    recent_blockhash: bytes
    instructions: tuple[Instruction, ...]
    lookup_tables: tuple[bytes, ...]

    @property
    def fee_payer(self) -> bytes:
        """The first account pays the fee."""
        return self.accounts[0]

    def effects(self) -> tuple[Effect, ...]:
        """The effect of each instruction, in order."""
        return tuple(instruction.effect() for instruction in self.instructions)

    @property
    def fee_max(self) -> int:
        """Most lamports the message can pay in fees: base fee per signature plus price of the compute units."""
        effects = self.effects()
        price = max((effect.unit_price or 0 for effect in effects), default=0)
        limits = [effect.unit_limit for effect in effects if effect.unit_limit is not None]
        units = min(max(limits, default=UNITS_MAX), UNITS_MAX)
        return len(self.signers) * SIGNATURE_FEE + -(-price * units // 1_000_000)

    def facts(self) -> dict[str, Any]:
        """JSON-able facts; amounts as decimal strings."""
        effects = self.effects()
        return {
            "version": "legacy" if self.version is None else self.version,
            "fee_payer": solana_address(self.fee_payer),
            "programs": sorted({solana_address(instruction.program) for instruction in self.instructions}),
            "effects": [effect.facts() for effect in effects],
            "lamports": str(sum(effect.lamports for effect in effects)),
            "fee_max": str(self.fee_max),
            "lookup_tables": [solana_address(table) for table in self.lookup_tables],
        }


def parse_message(data: bytes) -> SolanaMessage:
    """Parse a message strictly; raises CallerError (`payload.solana`)."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise CallerError(f"expected at most {MESSAGE_BYTES_MAX} bytes", code="payload.solana")
    cursor = Cursor(data)
    raw = _read(cursor)
    if cursor.remaining:
        cursor.refuse(f"{cursor.remaining} bytes after the message")
    _check(raw, cursor)
    loaded: tuple[bytes | None, ...] = (*raw.accounts, *(None for _ in range(raw.loaded)))
    return SolanaMessage(
        version=raw.version,
        signers=raw.accounts[: raw.signatures],
        accounts=raw.accounts,
        recent_blockhash=raw.blockhash,
        instructions=tuple(
            Instruction(
                program=raw.accounts[program],
                accounts=tuple(loaded[index] for index in accounts),
                data=content,
            )
            for program, accounts, content in raw.instructions
        ),
        lookup_tables=raw.tables,
    )


def may_be_message(data: bytes) -> bool:
    """Whether any reader, now or of a later version, might take these bytes for a Solana message.

    Deliberately wider than `parse_message`: consistency rules and trailing bytes are ignored, and a
    first byte of 0x80 to 0xBF (a version prefix, never the start of UTF-8 text) is always reserved.
    """
    if data[:1] and 0x80 <= data[0] < 0xC0:
        return True
    try:
        # A first byte of 0xC0 and more is read as the legacy form's count of signatures too.
        _read_body(Cursor(data), None)
    except CallerError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    """A message by structure alone."""

    version: int | None
    signatures: int
    readonly_signed: int
    readonly_unsigned: int
    accounts: tuple[bytes, ...]
    blockhash: bytes
    instructions: tuple[tuple[int, bytes, bytes], ...]
    tables: tuple[bytes, ...]
    loads: tuple[int, ...]
    """How many accounts each table supplies."""

    @property
    def loaded(self) -> int:
        """Accounts from all tables."""
        return sum(self.loads)


def _read(cursor: Cursor) -> _Raw:
    if not cursor.peek() & _VERSIONED:
        return _read_body(cursor, None)
    version = cursor.byte() & 0x7F
    if version != 0:
        cursor.refuse(f"version {version} is not known")
    return _read_body(cursor, version)


def _read_body(cursor: Cursor, version: int | None) -> _Raw:
    signatures, readonly_signed, readonly_unsigned = cursor.take(3)
    accounts = tuple(cursor.take(32) for _ in range(cursor.length()))
    blockhash = cursor.take(32)
    instructions = tuple(
        (cursor.byte(), cursor.take(cursor.length()), cursor.take(cursor.length())) for _ in range(cursor.length())
    )
    tables, loads = [], []
    if version == 0:
        for _ in range(cursor.length()):
            tables.append(cursor.take(32))
            # Two index lists: accounts to write, accounts to read.
            loads.append(len(cursor.take(cursor.length())) + len(cursor.take(cursor.length())))
    return _Raw(
        version=version,
        signatures=signatures,
        readonly_signed=readonly_signed,
        readonly_unsigned=readonly_unsigned,
        accounts=accounts,
        blockhash=blockhash,
        instructions=instructions,
        tables=tuple(tables),
        loads=tuple(loads),
    )


def _check(raw: _Raw, cursor: Cursor) -> None:
    """The validator's consistency rules."""
    static = len(raw.accounts)
    if not raw.readonly_signed < raw.signatures or raw.signatures + raw.readonly_unsigned > static:
        cursor.refuse("header counts do not fit the accounts")
    if len(set(raw.accounts)) != static or static + raw.loaded > 256:
        cursor.refuse("accounts repeat or exceed 256")
    if not all(raw.loads):
        cursor.refuse("a lookup table that supplies nothing")
    for program, accounts, _ in raw.instructions:
        if not 0 < program < static:
            cursor.refuse("a program index out of range")
        if any(index >= static + raw.loaded for index in accounts):
            cursor.refuse("an account index out of range")
