"""Rules that ask people from an amount of satoshis on: exactly Bitcoin payments up to it go through alone."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from enclave.ids import new_id
from enclave.payload.sign import parse_sign_body
from enclave.policy import Request
from tests.enclave.payload.messages import pay
from tests.enclave.payload.psbts import OWN, PAYEE, built, taproot_psbt
from tests.enclave.policy.requests import allow, decide, evm, message, solana

KINDS = ["bitcoin_psbt", "solana_message", "message", "evm_transaction", "digest"]


def asks(request: Request, asset: dict[str, Any], amount: int) -> bool:
    """Whether people are asked under a rule with that amount."""
    terms = {"group": "treasury", "minimum": 2, "above": {"asset": asset, "amount": str(amount)}}
    decision = decide(request, allow(kinds=KINDS, digest="allow", evm={"value_max": "1000"}, approvals=terms))
    assert decision.allowed is (decision.approvals is None)
    return decision.approvals is not None


def bitcoin(psbt: bytes, number: int = 0) -> Request:
    """A request to sign one input."""
    encoded = base64.urlsafe_b64encode(psbt).rstrip(b"=").decode()
    body = json.dumps({"kind": "bitcoin_psbt", "psbt": encoded, "input": number}).encode()
    payload = parse_sign_body(body, "bitcoin", "secp256k1-schnorr")
    return Request(agent=new_id("agt"), key=new_id("key"), kind="bitcoin_psbt", payload=payload)


SATOSHIS = {"kind": "satoshis"}


@pytest.mark.parametrize(("amount", "is_asked"), [(60_999, True), (61_000, False)])
def test_what_leaves_is_the_amount(amount: int, is_asked: bool) -> None:
    """Payment and fee: one satoshi below it people are asked."""
    assert asks(bitcoin(taproot_psbt(satoshis=90_000, pays=60_000)), SATOSHIS, amount) is is_asked


def test_several_inputs_are_asked_about_as_one() -> None:
    """The first own input counts everything; without its signature the others' are worth nothing."""
    psbt = built([(OWN.p2tr, 50_000), (OWN.p2tr, 50_000)], [(PAYEE, 99_000)]).serialize()
    assert asks(bitcoin(psbt, 0), SATOSHIS, 99_999)
    assert not asks(bitcoin(psbt, 1), SATOSHIS, 0)


@pytest.mark.parametrize("request_", [solana(pay(10**12)), message(), message("digest"), evm(value=1)])
def test_another_chain_is_above_every_amount_of_satoshis(request_: Request) -> None:
    """A Solana payment is no Bitcoin payment of nothing."""
    assert asks(request_, SATOSHIS, 10**15)


def test_bitcoin_is_above_every_amount_of_others() -> None:
    """Nor the other way round."""
    spend = bitcoin(taproot_psbt())
    assert asks(spend, {"kind": "lamports"}, 10**15)
    assert asks(spend, {"kind": "evm-native", "chain_id": 1}, 10**15)
