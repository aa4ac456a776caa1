"""Ethereum: transactions of every type from both custodies, read and recovered by eth-account."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.typed_transactions import TypedTransaction
from eth_account.typed_transactions.set_code_transaction import Authorization
from eth_keys.datatypes import Signature
from eth_utils import to_canonical_address
from hexbytes import HexBytes

from tests.kms.acceptance.api import Agent, RefusedError, b64
from tests.kms.acceptance.conftest import DELEGATE, ETHER

pytestmark = pytest.mark.cluster

TO = "0x000000000000000000000000000000000000dEaD"
ACCESS = [{"address": TO, "storage_keys": ["0x" + "07" * 32, "0x" + "00" * 32]}]
FEES_OLD = {"gas_price": "30000000000"}
FEES_NEW = {"max_fee_per_gas": "30000000000", "max_priority_fee_per_gas": "1000000000"}
FIELDS: dict[int, dict[str, Any]] = {
    0: FEES_OLD,
    1: FEES_OLD | {"access_list": ACCESS},
    2: FEES_NEW | {"access_list": ACCESS},
}
CUSTODIES = ("evm", "evm-reconstruct")
NONCES = itertools.count(3)
"""An account's nonce is used once: nodes refuse a second transaction with it."""


def transaction(kind: int, **changes: Any) -> dict[str, Any]:
    """A transfer with call data."""
    common = {
        "type": kind,
        "chain_id": 11155111,
        "nonce": next(NONCES),
        "gas": "120000",
        "to": TO,
        "value": str(10**15),
    }
    return common | {"data": "0x6869"} | FIELDS.get(kind, FEES_NEW) | changes


def address(agent: Agent, key: str) -> str:
    """The key's address as the API shows it."""
    return str(agent.get(key)["addresses"]["evm"])


@pytest.mark.parametrize("name", CUSTODIES)
@pytest.mark.parametrize("kind", sorted(FIELDS))
def test_sender_is_the_key(agent: Agent, keys: dict[str, str], name: str, kind: int) -> None:
    """Types 0, 1 and 2: eth-account decodes every field as ordered and recovers the key's address."""
    wanted = transaction(kind)
    signature = agent.sign(keys[name], "evm_transaction", transaction=wanted)
    raw = HexBytes(signature["raw_transaction"])
    assert Account.recover_transaction(raw) == address(agent, keys[name])
    assert int(signature["s"], 16) <= 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
    if kind == 0:
        return
    decoded = TypedTransaction.from_bytes(raw).as_dict()
    assert (decoded["type"], decoded["chainId"], decoded["nonce"]) == (kind, 11155111, wanted["nonce"])
    assert (decoded["value"], decoded["gas"], bytes(decoded["data"])) == (10**15, 120000, b"hi")
    assert bytes(decoded["to"]) == to_canonical_address(TO)
    assert [bytes(entry["address"]) for entry in decoded["accessList"]] == [to_canonical_address(TO)]


@pytest.mark.parametrize("name", CUSTODIES)
def test_delegation_and_set_code_transaction(agent: Agent, keys: dict[str, str], name: str) -> None:
    """Type 4: the authorisation and the transaction that carries it are signed by the key, and both recover to it."""
    number = next(NONCES)
    wanted = {"chain_id": 11155111, "address": DELEGATE, "nonce": number}
    signed = agent.sign(keys[name], "eip7702_authorization", authorization=wanted)
    r, s, parity = int(signed["r"], 16), int(signed["s"], 16), signed["y_parity"]
    digest = Authorization(11155111, to_canonical_address(DELEGATE), number).hash()
    own = address(agent, keys[name])
    assert Signature(vrs=(parity, r, s)).recover_public_key_from_msg_hash(digest).to_checksum_address() == own

    carried = wanted | {"y_parity": parity, "r": f"0x{r:064x}", "s": f"0x{s:064x}"}
    fields = transaction(4, authorization_list=[carried])
    raw = HexBytes(agent.sign(keys[name], "evm_transaction", transaction=fields)["raw_transaction"])
    assert Account.recover_transaction(raw) == own
    (inside,) = TypedTransaction.from_bytes(raw).as_dict()["authorizationList"]
    assert (bytes(inside["address"]), inside["nonce"]) == (to_canonical_address(DELEGATE), number)
    assert (inside["yParity"], inside["r"], inside["s"]) == (parity, r, s)


def test_a_contract_is_created(agent: Agent, keys: dict[str, str]) -> None:
    """Without a recipient: eth-account reads a creation and recovers the sender."""
    fields = transaction(2, to=None, data="0x600a600c600039600a6000f3602a60005260206000f3", value="0")
    raw = HexBytes(agent.sign(keys["evm"], "evm_transaction", transaction=fields)["raw_transaction"])
    assert Account.recover_transaction(raw) == address(agent, keys["evm"])
    assert bytes(TypedTransaction.from_bytes(raw).as_dict()["to"]) == b""


def test_the_unsigned_encoding_of_another_library(agent: Agent, keys: dict[str, str]) -> None:
    """`raw`: what eth-account encodes without a signature is what is signed."""
    fields = {"type": 2, "chainId": 11155111, "nonce": next(NONCES), "gas": 21000, "to": TO, "value": 1}
    fields |= {"maxFeePerGas": 10**9, "maxPriorityFeePerGas": 1, "data": b"", "accessList": []}
    typed = TypedTransaction.from_dict(fields).transaction
    names, forms = zip(*typed.unsigned_transaction_fields, strict=True)
    unsigned = b"\x02" + rlp.encode([typed.dictionary[name] for name in names], rlp.sedes.List(forms))
    signed = agent.sign(keys["evm"], "evm_transaction", raw="0x" + unsigned.hex())
    assert Account.recover_transaction(signed["raw_transaction"]) == address(agent, keys["evm"])


def test_a_child_is_an_account_of_its_own(agent: Agent, keys: dict[str, str]) -> None:
    """The address that `derive` shows is the sender that eth-account recovers for that path."""
    child = agent.post(keys["evm"], "derive", {"path": "m/44/60/0"}, act="keys.get")
    signed = agent.sign(keys["evm"], "evm_transaction", transaction=transaction(2), path="m/44/60/0")
    assert Account.recover_transaction(signed["raw_transaction"]) == child["addresses"]["evm"]
    assert child["addresses"]["evm"] != address(agent, keys["evm"])


def test_personal_message(agent: Agent, keys: dict[str, str]) -> None:
    """EIP-191 from both custodies."""
    for name in CUSTODIES:
        signed = agent.sign(keys[name], "eip191", message=b64("grüße".encode()))
        vrs = (27 + signed["y_parity"], int(signed["r"], 16), int(signed["s"], 16))
        assert Account.recover_message(encode_defunct(text="grüße"), vrs=vrs) == address(agent, keys[name])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"value": str(ETHER + 1)}, "policy.denied"),
        ({"type": 3}, "payload.evm-type"),
        ({"chain_id": 0}, "payload.malformed"),
        ({"gas": 20999}, "payload.malformed"),
        ({"surprise": 1}, "payload.malformed"),
    ],
)
def test_what_is_not_signed(agent: Agent, keys: dict[str, str], changes: dict[str, Any], code: str) -> None:
    """Over the cap, unknown types, missing replay protection and unknown members end without a signature."""
    with pytest.raises(RefusedError) as caught:
        agent.sign(keys["evm"], "evm_transaction", transaction=transaction(2, **changes))
    assert caught.value.code == code


def test_code_that_policy_does_not_name_is_not_delegated_to(agent: Agent, keys: dict[str, str]) -> None:
    """An authorisation hands the whole account to that code."""
    with pytest.raises(RefusedError) as caught:
        agent.sign(keys["evm"], "eip7702_authorization", authorization={"chain_id": 1, "address": TO, "nonce": 0})
    assert caught.value.code == "policy.denied"
