"""What one request takes from a budget: values, fees, approvals, and refusal of what cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account

from attestation.envelope import b64url
from enclave.errors import RefusedError
from enclave.limits.terms import Limits
from enclave.payload.sign import Payload, parse_sign_body
from tests.enclave.limits.kit import NATIVE, a_budget, a_payload, signing
from tests.enclave.payload.messages import PAYER, RECIPIENT, legacy, pay
from tests.enclave.policy.requests import decrypt

TOKEN = "0x" + "54" * 20
TOKEN_ASSET = {"kind": "evm-token", "chain_id": 1, "token": TOKEN}
RECEIVER = "52" * 20


def amount(asset: dict[str, Any], payload: Any, *, kind: str = "evm_transaction", usage: str = "evm") -> int:
    """What the payload takes of the asset."""
    return Limits.of([a_budget(asset=asset)], None, None).budgets[0].asset.amount(kind, usage, payload)


def code_of(asset: dict[str, Any], payload: Any, **options: Any) -> str:
    """The code with which counting is refused."""
    with pytest.raises(RefusedError) as caught:
        amount(asset, payload, **options)
    return caught.value.code


def call(name: str, *words: int | str) -> str:
    """Call data."""
    selectors = {"transfer": "a9059cbb", "approve": "095ea7b3", "burn": "42966c68"}
    return (
        "0x"
        + selectors[name]
        + "".join(word.rjust(64, "0") if isinstance(word, str) else f"{word:064x}" for word in words)
    )


def body(value: dict[str, Any], *, usage: str = "evm", spec: str = "secp256k1-ecdsa") -> Payload:
    """A parsed body."""
    return parse_sign_body(json.dumps(value).encode(), usage, spec)


def test_native_value_is_counted_with_the_most_it_can_cost() -> None:
    """Value plus gas times the highest price, on its own chain only."""
    assert amount(NATIVE, a_payload(value="1000", gas=21000, max_fee_per_gas="10")) == 1000 + 210_000
    assert amount(NATIVE, a_payload(chain_id=10)) == 0
    assert amount(NATIVE, a_payload(to=TOKEN, data=call("transfer", RECEIVER, 5), value="0")) == 210_000


def test_tokens_are_counted_with_their_approvals() -> None:
    """A transfer and an approval of the counted token take their amount; other tokens and chains nothing."""
    for name in ("transfer", "approve"):
        assert amount(TOKEN_ASSET, a_payload(to=TOKEN, data=call(name, RECEIVER, 77))) == 77
    assert amount(TOKEN_ASSET, a_payload(to="0x" + "55" * 20, data=call("transfer", RECEIVER, 77))) == 0
    assert amount(TOKEN_ASSET, a_payload(to=TOKEN, data=call("transfer", RECEIVER, 77), chain_id=10)) == 0
    assert amount(TOKEN_ASSET, a_payload()) == 0
    assert code_of(TOKEN_ASSET, a_payload(to=TOKEN, data=call("burn", 77))) == "budget.unreadable"


@pytest.mark.parametrize(("chain", "taken"), [({"chainId": 1}, 9), ({}, 9), ({"chainId": 10}, 0)])
def test_signed_permits_are_counted(chain: dict[str, int], taken: int) -> None:
    """A permit moves tokens like an approval; without a chain id it counts everywhere."""
    members = ("owner", "spender", "value", "nonce", "deadline")
    typed = {
        "types": {
            "Permit": [
                {"name": name, "type": "address" if number < 2 else "uint256"} for number, name in enumerate(members)
            ]
        },
        "primaryType": "Permit",
        "domain": {"name": "T", "verifyingContract": TOKEN} | chain,
        "message": {"owner": TOKEN, "spender": TOKEN, "value": 9, "nonce": 0, "deadline": 1},
    }
    assert amount(TOKEN_ASSET, body({"kind": "eip712", "typed_data": typed}), kind="eip712") == taken
    typed["primaryType"], typed["types"] = "Else", {"Else": [{"name": "owner", "type": "address"}]}
    typed["message"] = {"owner": TOKEN}
    unread = body({"kind": "eip712", "typed_data": typed})
    if taken:
        assert code_of(TOKEN_ASSET, unread, kind="eip712") == "budget.unreadable"
    else:
        assert amount(TOKEN_ASSET, unread, kind="eip712") == 0


@pytest.mark.parametrize("asset", [NATIVE, TOKEN_ASSET])
def test_what_could_move_anything_is_refused(asset: dict[str, Any]) -> None:
    """Blind signatures and delegations under a budget would be holes in it; plain messages are not."""
    digest = body({"kind": "digest", "digest": b64url(b"d" * 32)})
    delegation = body(
        {"kind": "eip7702_authorization", "authorization": {"chain_id": 10, "address": TOKEN, "nonce": 0}}
    )
    for payload in (digest, delegation):
        assert code_of(asset, payload, kind=payload.kind) == "budget.unreadable"
    assert amount(asset, body({"kind": "eip191", "message": b64url(b"hello")}), kind="eip191") == 0
    generic = body({"kind": "digest", "digest": b64url(b"d" * 32)}, usage="generic")
    assert amount(asset, generic, kind="digest", usage="generic") == 0


def solana(*instructions: Instruction) -> Payload:
    """A parsed Solana message."""
    value = {"kind": "solana_message", "message": b64url(legacy(instructions))}
    return body(value, usage="solana", spec="ed25519")


def test_lamports_are_counted_with_fees_and_unread_instructions_refused() -> None:
    """Transfers add up; an instruction that may take lamports without saying how many is refused."""
    asset = {"kind": "lamports"}
    assert amount(asset, solana(pay(1000), pay(234)), usage="solana") == 1234 + 5000
    opaque = Instruction(Pubkey.from_bytes(b"\x77" * 32), b"x", [])
    created = create_account(
        CreateAccountParams(from_pubkey=PAYER, to_pubkey=RECIPIENT, lamports=9, space=0, owner=RECIPIENT)
    )
    for instruction in (opaque, created):
        assert code_of(asset, solana(pay(1), instruction), usage="solana") == "budget.unreadable"


def test_spl_tokens_need_their_mint() -> None:
    """The checked transfer names it; the unchecked one could be any token's."""
    from solders.instruction import AccountMeta

    mint = Pubkey.from_bytes(b"\x44" * 32)
    program = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
    accounts = [AccountMeta(key, False, True) for key in (RECIPIENT, mint, Pubkey.from_bytes(b"\x45" * 32))]
    accounts.append(AccountMeta(PAYER, True, False))
    checked = Instruction(program, bytes([12]) + (55).to_bytes(8, "little") + b"\x06", accounts)
    unchecked = Instruction(program, bytes([3]) + (55).to_bytes(8, "little"), accounts[1:])
    asset = {"kind": "spl-token", "mint": str(mint)}
    other = {"kind": "spl-token", "mint": str(RECIPIENT)}
    assert amount(asset, solana(checked), usage="solana") == 55
    assert amount(other, solana(checked), usage="solana") == 0
    assert code_of(asset, solana(unchecked), usage="solana") == "budget.unreadable"
    assert amount(asset, solana(pay(5)), usage="solana") == 0


def test_requests_are_counted_one_by_one() -> None:
    """Of every kind or of those named; value budgets do not concern decryption."""
    payload = decrypt(recipient=True).payload
    assert amount({"kind": "requests"}, payload, kind="decrypt", usage="decrypt") == 1
    assert amount({"kind": "requests", "kinds": ["message"]}, payload, kind="decrypt", usage="decrypt") == 0
    assert amount({"kind": "requests", "kinds": ["evm_transaction"]}, a_payload()) == 1
    assert amount(NATIVE, payload, kind="decrypt", usage="decrypt") == 0
    assert signing(a_payload()).transaction
