"""Refresh among five nodes: the key stays, every share changes, the old ones are gone."""

from __future__ import annotations

import pytest
from nacl.signing import VerifyKey

from tests.enclave.ceremonies.driver import CeremonyWorld
from tests.enclave.node.codes import code_of


def test_a_refresh_keeps_the_key_and_changes_every_share(ready: CeremonyWorld) -> None:
    """Same public key, next epoch, other public shares, and it signs."""
    key = ready.create_key()
    (after,) = ready.run(ready.beginning("refresh", key))
    assert (after.public_key, after.epoch, after.activated_at) == (key.public_key, 2, key.activated_at)
    assert after.renewed_at is not None
    assert not set(after.public_shares.values()) & set(key.public_shares.values())
    VerifyKey(key.public_key).verify(b"again", ready.sign(after, b"again"))
    (last,) = ready.run(ready.beginning("refresh", after))
    VerifyKey(key.public_key).verify(b"third", ready.sign(last, b"third", ready.slots[2:]))


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": "secp256k1-ecdsa", "usage": "evm", "custody": "reconstruct"},
        {"spec": "hpke-x25519", "usage": "decrypt"},
        {"spec": "secp256k1-schnorr", "usage": "bitcoin"},
        {"spec": "secp256k1-ecdsa", "usage": "evm", "custody": "threshold", "shares_needed": 2},
    ],
)
def test_keys_of_every_kind_are_refreshed(ready: CeremonyWorld, changes: dict[str, str]) -> None:
    """Every group and custody: the public facts stay."""
    key = ready.create_key(**changes)
    (after,) = ready.run(ready.beginning("refresh", key))
    assert (after.public_key, after.group_key, after.chain_code) == (key.public_key, key.group_key, key.chain_code)
    assert after.epoch == 2


def test_many_keys_of_both_groups_in_one_session(ready: CeremonyWorld) -> None:
    """A batch renews all its keys, whatever their kinds."""
    keys = [
        ready.create_key(session=bytes([number]) * 32, **changes)
        for number, changes in enumerate(
            ({}, {"spec": "secp256k1-schnorr", "usage": "generic"}, {"shares_needed": 2}, {"name": "fourth"})
        )
    ]
    after = ready.run(ready.beginning("refresh", *keys))
    assert [key.epoch for key in after] == [2, 2, 2, 2]
    assert [key.public_key for key in after] == [key.public_key for key in keys]
    VerifyKey(after[3].public_key).verify(b"x", ready.sign(after[3], b"x"))


def test_an_order_works_once(ready: CeremonyWorld) -> None:
    """The order names the epoch: replayed after the refresh it starts nothing."""
    key = ready.create_key()
    start = ready.beginning("refresh", key)
    ready.run(start)
    again = ready.beginning("refresh", key, body=start.body)
    assert code_of(ready.call, "node-1", "ceremony-start", again) == "key.epoch"
