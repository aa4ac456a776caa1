"""Solana messages: what solders writes is read alike, and nothing else is read at all."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import AccountMeta, Instruction
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import AssignParams, assign
from solders.token.associated import get_associated_token_address

from enclave.addresses import solana_address
from enclave.errors import CallerError
from enclave.payload.solana import may_be_message, parse_message
from enclave.payload.solana_programs import (
    ASSOCIATED_TOKEN,
    COMPUTE_BUDGET,
    MEMO,
    SYSTEM,
    TOKEN,
    TOKEN_2022,
    EffectKind,
)
from tests.enclave.payload.messages import BLOCKHASH, PAYER, RECIPIENT, legacy, pay, transfer_message

TABLE = Pubkey.from_bytes(b"\x44" * 32)


def code_of(data: bytes) -> str:
    """The code with which bytes are refused."""
    with pytest.raises(CallerError) as caught:
        parse_message(data)
    return caught.value.code


def versioned(*, lookup: bool) -> bytes:
    """A version 0 message; with `lookup` the recipient comes from a table."""
    tables = [AddressLookupTableAccount(TABLE, [RECIPIENT])] if lookup else []
    return to_bytes_versioned(MessageV0.try_compile(PAYER, [pay()], tables, BLOCKHASH))


def test_program_ids_are_the_published_ones() -> None:
    """Our constants spell the addresses solders knows."""
    from solders import compute_budget, system_program
    from solders.token import ID as TOKEN_ID

    assert bytes(system_program.ID) == SYSTEM
    assert bytes(compute_budget.ID) == COMPUTE_BUDGET
    assert bytes(TOKEN_ID) == TOKEN
    assert len({SYSTEM, TOKEN, TOKEN_2022, ASSOCIATED_TOKEN, COMPUTE_BUDGET, MEMO}) == 6
    owner, mint = Pubkey.from_bytes(b"\x01" * 32), Pubkey.from_bytes(b"\x02" * 32)
    derived, _ = Pubkey.find_program_address([bytes(owner), TOKEN, bytes(mint)], Pubkey.from_bytes(ASSOCIATED_TOKEN))
    assert derived == get_associated_token_address(owner, mint)


def test_a_legacy_transfer_reads_like_solders() -> None:
    """Accounts, signers, blockhash and the transfer itself equal what was written."""
    data = transfer_message(1234)
    found, theirs = parse_message(data), Message.from_bytes(data)
    assert found.version is None
    assert [bytes(key) for key in theirs.account_keys] == list(found.accounts)
    assert found.recent_blockhash == bytes(BLOCKHASH)
    assert found.fee_payer == bytes(PAYER)
    (effect,) = found.effects()
    assert (effect.kind, effect.lamports) == (EffectKind.TRANSFER, 1234)
    assert (effect.source, effect.recipient) == (bytes(PAYER), bytes(RECIPIENT))
    assert found.facts()["lamports"] == "1234"


@pytest.mark.parametrize("lookup", [False, True])
def test_a_version_0_transfer_knows_what_it_cannot_know(lookup: bool) -> None:
    """A recipient from a lookup table is unknown, a static one is known."""
    found = parse_message(versioned(lookup=lookup))
    assert found.version == 0
    (effect,) = found.effects()
    assert effect.kind is EffectKind.TRANSFER
    assert effect.recipient == (None if lookup else bytes(RECIPIENT))
    assert found.lookup_tables == ((bytes(TABLE),) if lookup else ())


def test_every_cut_and_every_extension_is_refused() -> None:
    """No prefix of a message is a message, and no byte may follow one."""
    for data in (transfer_message(), versioned(lookup=True)):
        for end in range(len(data)):
            assert code_of(data[:end]) == "payload.solana"
        assert code_of(data + b"\x00") == "payload.solana"


def test_needless_length_bytes_are_refused() -> None:
    """The count of accounts in two bytes where one does is refused."""
    data = transfer_message()
    assert data[3] == 3
    assert code_of(data[:3] + b"\x83\x00" + data[4:]) == "payload.solana"
    assert code_of(data[:3] + b"\x83\x80\x00" + data[4:]) == "payload.solana"
    assert code_of(data[:3] + b"\xff\xff\x04" + data[4:]) == "payload.solana"


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, 0),  # no signer
        (0, 4),  # more signers than accounts
        (1, 1),  # the fee payer read-only
        (2, 3),  # more read-only accounts than there are
        (133, 0),  # the fee payer as program
        (133, 3),  # program index out of range
        (135, 3),  # account index out of range
    ],
)
def test_inconsistent_headers_and_indexes_are_refused(position: int, value: int) -> None:
    """One inconsistent header count or index makes a message invalid."""
    data = bytearray(transfer_message())
    assert data[position] != value
    data[position] = value
    assert code_of(bytes(data)) == "payload.solana"


def test_a_repeated_account_is_refused() -> None:
    """Naming one account twice is refused, as validators do."""
    data = transfer_message()
    assert code_of(data[:36] + data[4:36] + data[68:]) == "payload.solana"


@pytest.mark.parametrize("version", [1, 2, 127])
def test_unknown_versions_are_refused(version: int) -> None:
    """Only version 0 is known."""
    assert code_of(bytes([0x80 | version]) + versioned(lookup=False)[1:]) == "payload.solana"
    assert code_of(bytes([0x80 | version]) + transfer_message()) == "payload.solana"


def test_a_message_has_at_most_256_accounts() -> None:
    """Accounts from lookup tables count: an index is one byte."""
    data = versioned(lookup=False)
    assert data.endswith(b"\x00")

    def looked_up(count: int) -> bytes:
        indexes = bytes([count & 0x7F | 0x80, count >> 7]) + bytes(range(count))
        return data[:-1] + b"\x01" + bytes(TABLE) + indexes + b"\x00"

    assert parse_message(looked_up(253)).lookup_tables == (bytes(TABLE),)
    assert code_of(looked_up(254)) == "payload.solana"


def test_an_oversized_message_is_refused() -> None:
    """More than a packet holds is refused."""
    assert parse_message(legacy([instruction(MEMO, b"x" * 1000)]))
    with pytest.raises(CallerError, match="at most 1232"):
        parse_message(legacy([instruction(MEMO, b"x" * 1200)]))


def instruction(program: bytes, data: bytes, *accounts: bytes) -> Instruction:
    """Any instruction."""
    metas = [AccountMeta(Pubkey.from_bytes(account), False, True) for account in accounts]
    return Instruction(Pubkey.from_bytes(program), data, metas)


A, B, C, D = (bytes([number]) * 32 for number in (0xA1, 0xB2, 0xC3, 0xD4))
AMOUNT = (500).to_bytes(8, "little")


@pytest.mark.parametrize("program", [TOKEN, TOKEN_2022])
def test_token_transfers_are_read(program: bytes) -> None:
    """Plain transfers show amount and accounts; only the checked form states its mint."""
    plain = parse_message(legacy([instruction(program, b"\x03" + AMOUNT, A, B, C)])).effects()[0]
    assert (plain.kind, plain.amount, plain.recipient, plain.mint) == (EffectKind.TOKEN_TRANSFER, 500, B, None)
    checked = parse_message(legacy([instruction(program, b"\x0c" + AMOUNT + b"\x06", A, B, C, D)])).effects()[0]
    assert (checked.amount, checked.source, checked.mint, checked.recipient) == (500, A, B, C)
    assert checked.facts()["mint"] == solana_address(B)


@pytest.mark.parametrize(
    ("program", "data", "name"),
    [
        (TOKEN, b"\x04" + AMOUNT, "approve"),
        (TOKEN, b"\x06\x00\x00", "set-authority"),
        (TOKEN, b"\x09", "close-account"),
        (TOKEN, b"\x03" + AMOUNT + b"\x00", "unknown"),
        (TOKEN, b"", "unknown"),
        (SYSTEM, (1).to_bytes(4, "little") + A, "assign"),
        (SYSTEM, (2).to_bytes(4, "little") + AMOUNT + b"\x00", "unknown"),
        (SYSTEM, (5).to_bytes(4, "little") + AMOUNT, "withdraw-nonce"),
        (SYSTEM, b"", "unknown"),
        (ASSOCIATED_TOKEN, b"", "associated-token"),
        (COMPUTE_BUDGET, b"\x09", "unknown"),
    ],
)
def test_other_instructions_of_known_programs_are_not_transfers(program: bytes, data: bytes, name: str) -> None:
    """Approvals, authority changes and malformed transfers are named, never taken for harmless."""
    effect = parse_message(legacy([instruction(program, data, A, B, C, D)])).effects()[0]
    assert (effect.kind, effect.name) == (EffectKind.OTHER, name)


def test_unknown_programs_are_opaque() -> None:
    """Nothing is assumed of a program that is not known."""
    assert parse_message(legacy([instruction(D, b"", A)])).effects()[0].kind is EffectKind.OPAQUE


def test_assign_written_by_solders_is_recognised() -> None:
    """Handing an account to another program is not a transfer."""
    effect = parse_message(legacy([assign(AssignParams(pubkey=PAYER, owner=RECIPIENT))])).effects()[0]
    assert (effect.kind, effect.name) == (EffectKind.OTHER, "assign")


def test_the_priority_fee_is_counted() -> None:
    """The largest fee is signatures times base fee plus compute price times limit, rounded up."""
    assert parse_message(transfer_message()).fee_max == 5000
    priced = legacy([set_compute_unit_limit(300_000), set_compute_unit_price(1_000_001), pay()])
    assert parse_message(priced).fee_max == 5000 + 300_001
    unlimited = legacy([set_compute_unit_price(1_000_000), pay()])
    assert parse_message(unlimited).fee_max == 5000 + 1_400_000


@given(st.binary(max_size=400))
def test_hostile_bytes_only_raise_caller_errors(data: bytes) -> None:
    """Any bytes parse or raise a CallerError, and what parses may be a message."""
    with contextlib.suppress(CallerError):
        parse_message(data)
        assert may_be_message(data)


@given(st.integers(0, 400), st.integers(1, 255), st.booleans())
def test_changed_messages_only_raise_caller_errors(position: int, change: int, lookup: bool) -> None:
    """A message with one byte changed parses with our facts, or raises a CallerError."""
    data = bytearray(versioned(lookup=lookup))
    data[position % len(data)] ^= change
    try:
        found = parse_message(bytes(data))
    except CallerError:
        return
    assert found.facts()
    assert bytes(data) != versioned(lookup=lookup)


@given(st.integers(0, 400), st.integers(1, 255))
def test_what_solders_reads_is_never_signed_as_text(position: int, change: int) -> None:
    """Whatever solders accepts as a message is recognised, so it cannot pass as an opaque message."""
    data = bytearray(transfer_message())
    data[position % len(data)] ^= change
    try:
        Message.from_bytes(bytes(data))
    except Exception:
        return
    assert may_be_message(bytes(data))
