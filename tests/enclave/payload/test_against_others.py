"""Payload hashes and facts agree with independent libraries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys import keys
from hypothesis import given, settings
from hypothesis import strategies as st

from attestation.envelope import b64url
from enclave.addresses import checksum_address
from enclave.payload import rlp
from enclave.payload.sign import parse_sign_body, signed_transaction

KEY = keys.PrivateKey(bytes(range(1, 33)))
OWNER = KEY.public_key.to_checksum_address()
TO = "0x" + "52" * 20

integers = st.integers(0, 2**256 - 1)
words = st.binary(min_size=32, max_size=32).map(lambda key: "0x" + key.hex())
addresses = st.binary(min_size=20, max_size=20).map(checksum_address)


def body(transaction: dict[str, Any]) -> bytes:
    """A sign request; large integers as decimal strings."""
    return json.dumps({"kind": "evm_transaction", "transaction": transaction}).encode()


@st.composite
def transactions(draw: st.DrawFn) -> dict[str, Any]:
    """Valid transactions of every accepted type, in our field names."""
    kind = draw(st.sampled_from([0, 1, 2]))
    fee = draw(st.integers(0, 2**64))
    transaction: dict[str, Any] = {
        "type": kind,
        "chain_id": draw(st.integers(1, 2**32)),
        "nonce": draw(st.integers(0, 2**32)),
        "gas": str(draw(st.integers(21000, 2**40))),
        "to": draw(addresses),
        "value": str(draw(integers)),
        "data": "0x" + draw(st.binary(max_size=80)).hex(),
    }
    if kind < 2:
        transaction["gas_price"] = str(fee)
    else:
        transaction["max_fee_per_gas"] = str(fee)
        transaction["max_priority_fee_per_gas"] = str(draw(st.integers(0, fee)))
    if kind >= 1:
        transaction["access_list"] = draw(
            st.lists(
                st.fixed_dictionaries(
                    {
                        "address": addresses,
                        "storage_keys": st.lists(
                            st.binary(min_size=32, max_size=32).map(lambda k: "0x" + k.hex()), max_size=2
                        ),
                    }
                ),
                max_size=2,
            )
        )
    return transaction


def theirs(transaction: dict[str, Any]) -> dict[str, Any]:
    """The same transaction in eth-account's field names."""
    names = {
        "chain_id": "chainId",
        "gas_price": "gasPrice",
        "max_fee_per_gas": "maxFeePerGas",
        "max_priority_fee_per_gas": "maxPriorityFeePerGas",
    }
    value: dict[str, Any] = {}
    for name, item in transaction.items():
        if name == "access_list":
            value["accessList"] = [{"address": e["address"], "storageKeys": e["storage_keys"]} for e in item]
        elif name in ("to", "data"):
            value[name] = item
        elif name == "type":
            if item:
                value["type"] = item
        else:
            value[names.get(name, name)] = int(item)
    return value


@given(transactions())
@settings(max_examples=60, deadline=None)
def test_transactions_hash_and_serialise_like_eth_account(transaction: dict[str, Any]) -> None:
    """Digest, raw transaction and recovered sender equal those of eth-account for types 0, 1 and 2."""
    payload = parse_sign_body(body(transaction), "evm", "secp256k1-ecdsa")
    assert payload.digest is not None
    signature = KEY.sign_msg_hash(payload.digest)
    raw = signed_transaction(payload, signature.r, signature.s, signature.v)
    expected = Account.sign_transaction(theirs(transaction), KEY.to_bytes())
    assert raw == bytes(expected.raw_transaction)
    assert Account.recover_transaction(raw) == OWNER


def test_a_type_4_transaction_equals_eth_account() -> None:
    """An EIP-7702 transaction with a signed authorization serialises and recovers like eth-account's."""
    authorization = Account.sign_authorization({"chainId": 1, "address": TO, "nonce": 7}, KEY.to_bytes())
    ours = {
        "type": 4,
        "chain_id": 1,
        "nonce": 1,
        "gas": 100000,
        "to": TO,
        "value": 0,
        "data": "0x",
        "max_fee_per_gas": 9,
        "max_priority_fee_per_gas": 1,
        "authorization_list": [
            {
                "chain_id": 1,
                "address": TO,
                "nonce": 7,
                "y_parity": authorization.y_parity,
                "r": f"0x{authorization.r:064x}",
                "s": f"0x{authorization.s:064x}",
            }
        ],
    }
    payload = parse_sign_body(body(ours), "evm", "secp256k1-ecdsa")
    assert payload.digest is not None
    signature = KEY.sign_msg_hash(payload.digest)
    raw = signed_transaction(payload, signature.r, signature.s, signature.v)
    expected = Account.sign_transaction(
        {
            "type": 4,
            "chainId": 1,
            "nonce": 1,
            "gas": 100000,
            "to": TO,
            "value": 0,
            "data": "0x",
            "maxFeePerGas": 9,
            "maxPriorityFeePerGas": 1,
            "accessList": [],
            "authorizationList": [authorization],
        },
        KEY.to_bytes(),
    )
    assert raw == bytes(expected.raw_transaction)


@given(st.integers(0, 2**32), addresses, st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_delegations_equal_eth_account(chain_id: int, address: str, nonce: int) -> None:
    """An EIP-7702 authorization's digest is the one eth-account signs."""
    authorization = {"chain_id": chain_id, "address": address, "nonce": nonce}
    body = json.dumps({"kind": "eip7702_authorization", "authorization": authorization}).encode()
    payload = parse_sign_body(body, "evm", "secp256k1-ecdsa")
    theirs = {"chainId": chain_id, "address": address, "nonce": nonce}
    expected = Account.sign_authorization(theirs, KEY.to_bytes())
    assert payload.digest == bytes(expected.authorization_hash)


@given(st.binary(max_size=300))
@settings(max_examples=40, deadline=None)
def test_personal_messages_recover_with_eth_account(message: bytes) -> None:
    """An EIP-191 digest signed by a key is recovered to that key by eth-account."""
    payload = parse_sign_body(
        json.dumps({"kind": "eip191", "message": b64url(message)}).encode(), "evm", "secp256k1-ecdsa"
    )
    assert payload.digest is not None
    signature = KEY.sign_msg_hash(payload.digest)
    assert Account.recover_message(encode_defunct(message), signature=signature.to_bytes()) == OWNER


items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=5), max_leaves=12)


@given(items)
@settings(max_examples=100, deadline=None)
def test_rlp_equals_the_reference_library(item: Any) -> None:
    """Our RLP encoder writes what the reference package writes, and our decoder reads it back."""
    theirs = pytest.importorskip("rlp")
    encoded = rlp.encode(item)
    assert encoded == theirs.encode(item)
    if _depth(item) <= rlp.DEPTH_MAX:
        assert rlp.decode(encoded) == item


def _depth(item: Any) -> int:
    return 1 + max(map(_depth, item), default=0) if isinstance(item, list) else 0
