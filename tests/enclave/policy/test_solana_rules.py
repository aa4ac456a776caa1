"""Solana conditions: recipients, amounts, programs, tokens, and everything that is not a plain transfer."""

from __future__ import annotations

from typing import Any

import pytest
from solders.compute_budget import set_compute_unit_price
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from enclave.addresses import solana_address
from enclave.payload.sign import Payload
from enclave.payload.solana import parse_message
from enclave.payload.solana_programs import MEMO, SYSTEM, TOKEN, TOKEN_2022
from enclave.policy import Request
from tests.enclave.payload.messages import RECIPIENT, pay
from tests.enclave.payload.test_solana import versioned
from tests.enclave.policy.requests import allow, decide, deny, solana
from tests.enclave.samples import AGENT, KEY, NOW

KINDS = ["solana_message"]
A, B, C, D = (bytes([number]) * 32 for number in (0xA1, 0xB2, 0xC3, 0xD4))
TO, ELSEWHERE = solana_address(bytes(RECIPIENT)), solana_address(D)
MINT, ACCOUNT = solana_address(B), solana_address(C)


def call(program: bytes, data: bytes, *accounts: bytes) -> Instruction:
    """Any instruction."""
    return Instruction(
        Pubkey.from_bytes(program), data, [AccountMeta(Pubkey.from_bytes(a), False, True) for a in accounts]
    )


def token(amount: int = 500, *, checked: bool = True) -> Instruction:
    """A token transfer from A to C of mint B."""
    data = amount.to_bytes(8, "little")
    return call(TOKEN, b"\x0c" + data + b"\x06", A, B, C, D) if checked else call(TOKEN, b"\x03" + data, A, C, D)


APPROVE = call(TOKEN, b"\x04" + bytes(8), A, B, C)
UNKNOWN = call(D, b"", A)
MEMO_LINE = call(MEMO, b"hello")
PRICE = set_compute_unit_price(1_000_000)


@pytest.mark.parametrize(
    ("rule", "instructions"),
    [
        ({}, [pay()]),
        ({"recipients": [TO]}, [pay(), MEMO_LINE]),
        ({"lamports_max": "2000"}, [pay(), pay()]),
        ({"fee_max": "1405000"}, [PRICE, pay()]),
        ({"programs": [solana_address(SYSTEM)]}, [pay(), MEMO_LINE]),
        ({"tokens": "any"}, [token(checked=False)]),
        ({"tokens": [{"mint": MINT}]}, [token()]),
        ({"tokens": [{"mint": MINT, "recipients": [ACCOUNT], "amount_max": "1000"}]}, [token(), token()]),
        ({"instructions": "any"}, [APPROVE]),
        ({"programs": [ELSEWHERE]}, [UNKNOWN]),
    ],
)
def test_what_the_rule_names_is_allowed(rule: dict[str, Any], instructions: list[Instruction]) -> None:
    """Messages on the lists and at the caps are allowed; memos and unit limits never matter."""
    assert decide(solana(*instructions), allow(kinds=KINDS, solana=rule)).allowed


def system(number: int, data: bytes, *accounts: bytes) -> Instruction:
    """A System instruction by number."""
    return call(SYSTEM, number.to_bytes(4, "little") + data, *accounts)


LAMPORTS = (1000).to_bytes(8, "little")
SEED = (4).to_bytes(8, "little") + b"seed"
PAYING = [
    system(0, LAMPORTS + bytes(40), A, D),
    system(2, LAMPORTS + b"\0", A, D),
    system(3, A + SEED + LAMPORTS + bytes(40), A, D),
    system(5, LAMPORTS, A, D, C, C, C),
    system(11, LAMPORTS + SEED + bytes(32), A, B, D),
]
"""Instructions other than the plain transfer that take 1000 lamports from A to D."""

TOKEN_PAYING = [
    call(TOKEN, b"\x0c" + LAMPORTS + b"\x06\0", A, B, D, C),
    call(TOKEN_2022, b"\x1a\x01" + LAMPORTS + b"\x06" + bytes(8), A, B, D, C),
]
"""Transfers of 1000 of mint B to D that are not written as plain ones."""


@pytest.mark.parametrize("instruction", PAYING)
def test_whatever_pays_lamports_meets_lists_and_caps(instruction: Instruction) -> None:
    """Allowing more than plain transfers lifts neither the recipients nor the sum; a deny-list sees them too."""
    rule: dict[str, Any] = {"instructions": "any", "recipients": [ELSEWHERE], "lamports_max": "1000"}
    request = solana(instruction)
    assert decide(request, allow(kinds=KINDS, solana=rule)).allowed
    assert not decide(request, allow(kinds=KINDS, solana=rule | {"recipients": [TO]})).allowed
    assert not decide(request, allow(kinds=KINDS, solana=rule | {"lamports_max": "999"})).allowed
    assert not decide(request, allow(kinds=KINDS, solana={})).allowed
    barred = deny(solana={"recipients": [ELSEWHERE]})
    assert not decide(request, allow(kinds=KINDS, solana={"instructions": "any"}), barred).allowed


@pytest.mark.parametrize("instruction", [*TOKEN_PAYING, call(TOKEN, b"\x03" + LAMPORTS + b"\0", A, D, C)])
def test_whatever_moves_tokens_needs_its_token(instruction: Instruction) -> None:
    """Trailing bytes and extensions make no transfer of a token that the rule does not allow."""
    assert not decide(solana(instruction), allow(kinds=KINDS, solana={"instructions": "any"})).allowed
    assert decide(solana(instruction), allow(kinds=KINDS, solana={"instructions": "any", "tokens": "any"})).allowed
    assert not decide(solana(instruction), allow(kinds=KINDS, solana={"tokens": "any"})).allowed


@pytest.mark.parametrize("instruction", TOKEN_PAYING)
def test_whatever_moves_a_listed_token_meets_its_terms(instruction: Instruction) -> None:
    """Recipient and sum hold for every form of transfer."""
    for terms, allowed in (
        ({"recipients": [ELSEWHERE], "amount_max": "1000"}, True),
        ({"recipients": [ACCOUNT]}, False),
        ({"amount_max": "999"}, False),
    ):
        rule = {"instructions": "any", "tokens": [{"mint": MINT} | terms]}
        assert decide(solana(instruction), allow(kinds=KINDS, solana=rule)).allowed is allowed


@pytest.mark.parametrize(
    ("rule", "instructions", "leaf"),
    [
        ({"recipients": [ELSEWHERE]}, [pay()], "solana.recipients"),
        ({"lamports_max": "1999"}, [pay(), pay()], "solana.lamports_max"),
        ({"fee_max": "1404999"}, [PRICE, pay()], "solana.fee_max"),
        ({"programs": [ELSEWHERE]}, [pay()], "solana.programs"),
        ({}, [token()], "solana.tokens"),
        ({"tokens": [{"mint": ACCOUNT}]}, [token()], "solana.tokens"),
        ({"tokens": [{"mint": MINT}]}, [token(checked=False)], "solana.tokens"),
        ({"tokens": [{"mint": MINT, "recipients": [ELSEWHERE]}]}, [token()], "solana.tokens.recipients"),
        ({"tokens": [{"mint": MINT, "amount_max": "999"}]}, [token(), token()], "solana.tokens.amount_max"),
        ({"tokens": "any", "recipients": [ELSEWHERE]}, [token()], "solana.recipients"),
        ({}, [APPROVE], "solana.instructions"),
        ({"tokens": "any"}, [APPROVE], "solana.instructions"),
        ({}, [UNKNOWN], "solana.programs"),
        ({"instructions": "any"}, [UNKNOWN], "solana.programs"),
    ],
)
def test_one_condition_that_fails_is_named(rule: dict[str, Any], instructions: list[Instruction], leaf: str) -> None:
    """A message outside one condition is denied, and only that condition is reported."""
    decision = decide(solana(*instructions), allow(kinds=KINDS, solana=rule))
    assert not decision.allowed
    assert {check.leaf for check in decision.traces[0].checks if not check.holds} == {leaf}


def test_one_bad_instruction_among_good_ones_is_enough() -> None:
    """Every instruction of a message has to be allowed."""
    rule = allow(kinds=KINDS, solana={"recipients": [TO]})
    assert decide(solana(pay(), pay()), rule).allowed
    assert not decide(solana(pay(), pay(to=Pubkey.from_bytes(D))), rule).allowed


def lookup_request() -> Request:
    """A transfer whose recipient comes from a lookup table."""
    data = versioned(lookup=True)
    payload = Payload(kind="solana_message", message=data, solana=parse_message(data))
    return Request(agent=AGENT, key=KEY, kind="solana_message", payload=payload, now=NOW)


def test_an_unknown_recipient_is_on_no_list() -> None:
    """A recipient from a lookup table satisfies no allow-list and is stopped by every deny-list."""
    assert decide(lookup_request(), allow(kinds=KINDS, solana={})).allowed
    assert not decide(lookup_request(), allow(kinds=KINDS, solana={"recipients": [TO]})).allowed
    assert not decide(lookup_request(), allow(kinds=KINDS), deny(solana={"recipients": [ELSEWHERE]})).allowed


@pytest.mark.parametrize(
    ("rule", "stopped"),
    [
        ({"recipients": [TO]}, True),
        ({"recipients": [ELSEWHERE]}, False),
        ({"programs": [solana_address(SYSTEM)]}, True),
        ({"programs": [solana_address(TOKEN)]}, False),
        ({"programs": [solana_address(SYSTEM)], "recipients": [ELSEWHERE]}, False),
    ],
)
def test_deny_rules_look_at_any_instruction(rule: dict[str, Any], stopped: bool) -> None:
    """A deny rule stops a message that touches a named recipient or program anywhere."""
    assert decide(solana(MEMO_LINE, pay()), allow(kinds=KINDS), deny(solana=rule)).allowed is not stopped
