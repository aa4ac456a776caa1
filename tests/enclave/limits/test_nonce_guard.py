"""The nonce guard and rates: one transaction per nonce, replacements by policy, nothing forgotten."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enclave.key_specs import Custody, Usage
from enclave.limits.nonce_guard import NonceGuard, use_of
from enclave.limits.rates import Rates
from enclave.limits.terms import Rate
from enclave.payload.sign import Payload, parse_sign_body
from enclave.seal import SealedStore
from tests.enclave.limits.kit import a_payload, a_store
from tests.enclave.node.codes import code_of
from tests.enclave.samples import NOW
from tests.enclave.test_certificate import a_certificate

KEY = a_certificate(spec="secp256k1-ecdsa", usage=Usage.EVM, custody=Custody.RECONSTRUCT)
"""Three of five nodes: any two quorums share one."""


@pytest.fixture
def store() -> Iterator[SealedStore]:
    """One node's sealed store."""
    with tempfile.TemporaryDirectory() as directory:
        made = a_store(Path(directory))
        yield made
        made.close()


@pytest.fixture
def guard(store: SealedStore) -> NonceGuard:
    """One node's guard."""
    return NonceGuard(store)


def let(guard: NonceGuard, payload: Payload, word: str = "on", key: Any = KEY) -> None:
    """Let a payload through; raises RefusedError."""
    use = use_of(key, payload, word)
    assert use is not None
    guard.check(use)
    guard.record(use)


def legacy(**changes: Any) -> Payload:
    """A legacy transaction with nonce 0."""
    fields = {"type": 0, "chain_id": 1, "nonce": 0, "gas": 21000, "to": "0x" + "52" * 20, "value": "1", "data": "0x"}
    body = {"kind": "evm_transaction", "transaction": fields | {"gas_price": "5"} | changes}
    return parse_sign_body(json.dumps(body).encode(), "evm", "secp256k1-ecdsa")


def delegation(**changes: Any) -> Payload:
    """An authorization with nonce 0 on chain 1."""
    fields = {"chain_id": 1, "address": "0x" + "22" * 20, "nonce": 0} | changes
    body = {"kind": "eip7702_authorization", "authorization": fields}
    return parse_sign_body(json.dumps(body).encode(), "evm", "secp256k1-ecdsa")


def test_one_transaction_per_nonce(guard: NonceGuard) -> None:
    """The same transaction may be signed again, another under its nonce may not, whatever its type."""
    let(guard, a_payload(nonce=7))
    let(guard, a_payload(nonce=7))
    for other in (a_payload(nonce=7, value="2"), a_payload(nonce=7, max_fee_per_gas="11"), legacy(nonce=7)):
        assert code_of(let, guard, other) == "nonce-guard.used"
    let(guard, a_payload(nonce=8, value="2"))
    let(guard, a_payload(nonce=7, chain_id=10, value="2"))


def test_accounts_do_not_share_nonces(guard: NonceGuard) -> None:
    """Another key, version or derived account counts for itself."""
    let(guard, a_payload())
    other = a_payload(value="2")
    let(guard, other, key=replace(KEY, version=2))
    let(guard, replace(other, path=(1,)))
    assert code_of(let, guard, replace(a_payload(value="3"), path=(1,))) == "nonce-guard.used"


def test_a_policy_may_allow_other_fees(guard: NonceGuard) -> None:
    """`fee-bump` lets the same transaction through at other prices, and nothing else about it may differ."""
    let(guard, a_payload(nonce=1))
    let(guard, a_payload(nonce=1, max_fee_per_gas="20", max_priority_fee_per_gas="2"), "fee-bump")
    let(guard, a_payload(nonce=1, max_fee_per_gas="30"), "fee-bump")
    for change in ({"value": "2"}, {"to": "0x" + "53" * 20}, {"data": "0x01"}, {"gas": 22000}):
        assert code_of(let, guard, a_payload(nonce=1, **change), "fee-bump") == "nonce-guard.used"
    assert code_of(let, guard, legacy(nonce=1), "fee-bump") == "nonce-guard.used"


def test_authorizations_use_nonces_too(guard: NonceGuard) -> None:
    """EIP-7702: an authorization takes its account's nonce, and one for every chain takes it on each."""
    let(guard, a_payload(nonce=1))
    assert code_of(let, guard, delegation(nonce=1)) == "nonce-guard.used"
    assert code_of(let, guard, delegation(nonce=1, chain_id=0)) == "nonce-guard.used"
    let(guard, delegation(nonce=1, chain_id=10))
    let(guard, delegation(nonce=2, chain_id=0))
    for chain in (1, 10, 999):
        assert code_of(let, guard, a_payload(nonce=2, chain_id=chain)) == "nonce-guard.used"
        assert code_of(let, guard, delegation(nonce=2, chain_id=chain)) == "nonce-guard.used"
    let(guard, delegation(nonce=2, chain_id=0))
    assert code_of(let, guard, delegation(nonce=2, chain_id=0, address="0x" + "23" * 20), "fee-bump") == (
        "nonce-guard.used"
    )


def test_nothing_is_forgotten_by_a_restart(store: SealedStore, guard: NonceGuard) -> None:
    """What was recorded is on disk: the same and only the same may be signed again."""
    let(guard, a_payload(nonce=3))
    let(guard, delegation(nonce=4, chain_id=0))
    restarted = NonceGuard(store)
    let(restarted, a_payload(nonce=3))
    assert code_of(let, restarted, a_payload(nonce=3, value="2")) == "nonce-guard.used"
    assert code_of(let, restarted, a_payload(nonce=4)) == "nonce-guard.used"


def test_old_nonces_are_summed_up_as_used(store: SealedStore) -> None:
    """Memory is bounded; below the oldest nonce remembered everything is refused, before and after a restart."""
    guard = NonceGuard(store, kept=4)
    for nonce in (0, 1, 2, 5, 6, 7):
        let(guard, a_payload(nonce=nonce))
    for known in (guard, NonceGuard(store, kept=4)):
        for nonce in (0, 1):
            assert code_of(let, known, a_payload(nonce=nonce)) == "nonce-guard.used"
        assert code_of(let, known, delegation(nonce=1, chain_id=0)) == "nonce-guard.used"
        let(known, a_payload(nonce=2))
    assert sum(1 for _ in store.items("nonce")) == 4
    for nonce in range(10, 20):
        let(guard, delegation(nonce=nonce, chain_id=0))
    assert code_of(let, guard, a_payload(nonce=14, chain_id=10)) == "nonce-guard.used"


def test_a_full_guard_refuses(store: SealedStore) -> None:
    """Never a nonce that is not remembered."""
    guard = NonceGuard(store, entries_max=1)
    let(guard, a_payload(nonce=1))
    assert code_of(let, guard, a_payload(nonce=2)) == "nonce-guard.full"


def test_the_guard_is_on_where_quorums_meet() -> None:
    """Only keys with 2 s > n, only usage evm, and not where policy turned it off."""
    payload = a_payload()
    assert use_of(KEY, payload, "on") is not None
    assert use_of(KEY, payload, "off") is None
    assert use_of(replace(KEY, shares_needed=2), payload, "on") is None
    assert use_of(replace(KEY, usage=Usage.GENERIC), payload, "on") is None
    threshold = replace(KEY, custody=Custody.THRESHOLD, shares_needed=2)
    assert threshold.signing_quorum == 3
    assert use_of(threshold, payload, "on") is not None
    digest = parse_sign_body(b'{"kind":"eip191","message":"aGk"}', "evm", "secp256k1-ecdsa")
    assert use_of(KEY, digest, "on") is None


@pytest.mark.parametrize("name", ["x", "key/1|a|2", "key/1|1"])
def test_a_row_of_another_form_stops_the_node(store: SealedStore, name: str) -> None:
    """A row that does not read is never skipped."""
    store.put("nonce", name, bytes(64))
    assert code_of(NonceGuard, store) == "storage.form"


def test_a_rate_counts_each_request_once() -> None:
    """At most `max` within any `window_s`; attempts of a counted request go through."""
    rates, rate = Rates(), Rate(max=3, window_s=10)

    def ask(number: int, now: int, subject: str = "a") -> None:
        request_id = number.to_bytes(32, "big")
        rates.check(subject, rate, request_id, now)
        rates.count(subject, rate, request_id, now)

    for number in range(3):
        ask(number, NOW + number)
    assert code_of(ask, 9, NOW + 9) == "rate.exceeded"
    for number in range(3):
        ask(number, NOW + 9)
    ask(9, NOW + 9, "b")
    ask(9, NOW + 10)
    assert code_of(ask, 10, NOW + 10) == "rate.exceeded"
    ask(10, NOW + 11)


def test_rates_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full means refuse, until windows are over."""
    import enclave.limits.rates as module

    monkeypatch.setattr(module, "SUBJECTS_MAX", 2)
    rates, rate = Rates(), Rate(max=1, window_s=10)
    for subject in ("a", "b"):
        rates.check(subject, rate, b"r", NOW)
        rates.count(subject, rate, b"r", NOW)
    assert code_of(rates.check, "c", rate, b"r", NOW + 9) == "rate.full"
    rates.check("c", rate, b"r", NOW + 10)
