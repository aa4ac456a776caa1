"""Solana: legacy and version 0 transactions, populated and verified by solders."""

from __future__ import annotations

import os

import pytest
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction, VersionedTransaction

from tests.kms.acceptance.api import Agent, RefusedError, b64, unb64

pytestmark = pytest.mark.cluster


def payer(agent: Agent, key: str) -> Pubkey:
    """The key's account."""
    return Pubkey.from_string(agent.get(key)["addresses"]["solana"])


def moving(source: Pubkey, target: Pubkey, lamports: int = 5000) -> Instruction:
    """A transfer."""
    return transfer(TransferParams(from_pubkey=source, to_pubkey=target, lamports=lamports))


def signature(agent: Agent, key: str, message: bytes) -> Signature:
    """The nodes' signature over a serialised message."""
    return Signature(unb64(agent.sign(key, "solana_message", message=b64(message))["ed25519"]))


def test_a_version_0_transaction_with_a_lookup_table(agent: Agent, keys: dict[str, str]) -> None:
    """The recipient comes from an address lookup table; solders populates the transaction and verifies it."""
    source, target = payer(agent, keys["solana"]), Pubkey.new_unique()
    table = AddressLookupTableAccount(key=Pubkey.new_unique(), addresses=[Pubkey.new_unique(), target])
    message = MessageV0.try_compile(source, [moving(source, target)], [table], Hash(os.urandom(32)))
    assert target not in message.account_keys
    assert [bytes(lookup.writable_indexes) for lookup in message.address_table_lookups] == [b"\x01"]
    signed = signature(agent, keys["solana"], to_bytes_versioned(message))
    full = VersionedTransaction.populate(message, [signed])
    assert full.verify_with_results() == [True]
    assert VersionedTransaction.from_bytes(bytes(full)) == full


def test_a_version_0_transaction_without_tables(agent: Agent, keys: dict[str, str]) -> None:
    """Two transfers in one version 0 message."""
    source = payer(agent, keys["solana"])
    moves = [moving(source, Pubkey.new_unique()), moving(source, Pubkey.new_unique(), 7)]
    message = MessageV0.try_compile(source, moves, [], Hash(os.urandom(32)))
    full = VersionedTransaction.populate(message, [signature(agent, keys["solana"], to_bytes_versioned(message))])
    assert full.verify_with_results() == [True]


def test_a_legacy_transaction(agent: Agent, keys: dict[str, str]) -> None:
    """The form before versions; `verify` raises unless all signatures hold."""
    source = payer(agent, keys["solana"])
    message = Message.new_with_blockhash([moving(source, Pubkey.new_unique())], source, Hash(os.urandom(32)))
    full = Transaction.populate(message, [signature(agent, keys["solana"], bytes(message))])
    full.verify()


def test_a_message_over_the_cap_is_refused(agent: Agent, keys: dict[str, str]) -> None:
    """Ten times the lamports the rule allows, hidden behind a lookup table or not."""
    source, target = payer(agent, keys["solana"]), Pubkey.new_unique()
    table = AddressLookupTableAccount(key=Pubkey.new_unique(), addresses=[target])
    for tables in ([], [table]):
        message = MessageV0.try_compile(source, [moving(source, target, 10**10)], tables, Hash(os.urandom(32)))
        with pytest.raises(RefusedError) as caught:
            signature(agent, keys["solana"], to_bytes_versioned(message))
        assert caught.value.code == "policy.denied"


@pytest.mark.parametrize("versioned", [False, True])
def test_a_transaction_is_no_text(agent: Agent, keys: dict[str, str], versioned: bool) -> None:
    """Smuggled as kind `message`, where policy could not read it, the same bytes are refused."""
    source = payer(agent, keys["solana"])
    move, block = moving(source, Pubkey.new_unique()), Hash(os.urandom(32))
    message = (
        to_bytes_versioned(MessageV0.try_compile(source, [move], [], block))
        if versioned
        else bytes(Message.new_with_blockhash([move], source, block))
    )
    with pytest.raises(RefusedError) as caught:
        agent.sign(keys["solana"], "message", message=b64(message))
    assert caught.value.code == "payload.looks-like-transaction"
