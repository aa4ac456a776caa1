"""What a key has used up goes with it through a reshare, and it stands still meanwhile."""

from __future__ import annotations

import pytest

from enclave.errors import PeerError
from enclave.limits.nonce_guard import Use
from enclave.limits.transfer import LimitTable, adopt, check_table, table_of
from enclave.tokens import key_resource
from enclave.wire.ceremonies import CeremonyQuery
from enclave.wire.message import decode_as, encode
from tests.enclave.ceremonies.driver import CeremonyWorld
from tests.enclave.node.codes import code_of

EVM = {"spec": "secp256k1-ecdsa", "usage": "evm", "custody": "threshold", "shares_needed": 2}


def use(account: str, nonce: int, digest: bytes = b"d" * 32) -> Use:
    """One nonce of an account on chain 1."""
    return Use(account=account, chain=1, nonce=nonce, digest=digest, core=b"c" * 32, replaceable=False)


def test_new_holders_know_every_nonce_of_the_old(ready: CeremonyWorld) -> None:
    """Each old holder remembers another nonce; after a disjoint reshare every new holder refuses them all."""
    key = ready.create_key(nodes=["node-1", "node-2", "node-3"], **EVM)
    account = key_resource(key.key, key.version)
    for number, slot in enumerate(key.slots):
        ready.nodes[slot].limits.guard.record(use(account, 10 + number))
    new = ("node-3", "node-4", "node-5")
    start = ready.beginning("reshare", key, participants=ready.slots, nodes=new, shares_needed=2)
    ready.run(start)
    for slot in new:
        guard = ready.nodes[slot].limits.guard
        for nonce in (10, 11, 12):
            assert code_of(guard.check, use(account, nonce, b"e" * 32)) == "nonce-guard.used"
        guard.check(use(account, 13))
    ready.crash("node-5")
    assert code_of(ready.nodes["node-5"].limits.guard.check, use(account, 10, b"e" * 32)) == "nonce-guard.used"


def test_guarded_keys_stand_still_while_they_move(ready: CeremonyWorld) -> None:
    """From its dealing until the certificate an old holder uses the key no more; an abort lets it go on."""
    key = ready.create_key(**EVM)
    start = ready.beginning("reshare", key, nodes=tuple(ready.slots[:4]), shares_needed=2)
    first = ready.begin(start)
    node = ready.nodes["node-1"]
    node.ceremonies.check_resolved(key.key, key.version, ready.now)
    second = ready.round(start, 2, first)
    assert code_of(node.ceremonies.check_resolved, key.key, key.version, ready.now) == "key.resharing"
    ready.round(start, 3, second)
    ready.crash("node-1")
    node = ready.nodes["node-1"]
    assert code_of(node.ceremonies.check_resolved, key.key, key.version, ready.now) == "key.resharing"
    assert ready.resolve(start.session, start.participants) == "committed"
    node.ceremonies.check_resolved(key.key, key.version, ready.now)
    moved = ready.current(key.key)
    terms = {"nodes": tuple(ready.slots[:3]), "shares_needed": 2}
    other = ready.beginning("reshare", moved, participants=ready.slots[:4], **terms)
    ready.round(other, 2, ready.begin(other))
    ready.call("node-1", "ceremony-abort", CeremonyQuery(session=other.session))
    node.ceremonies.check_resolved(key.key, key.version, ready.now)


def test_a_refresh_does_not_stop_the_key(ready: CeremonyWorld) -> None:
    """Nothing travels in a refresh, so guarded keys go on, too."""
    key = ready.create_key(**EVM)
    start = ready.beginning("refresh", key)
    ready.prepared(start)
    ready.nodes["node-1"].ceremonies.check_resolved(key.key, key.version, ready.now)


def test_tables_are_about_the_keys_and_nothing_else(ready: CeremonyWorld) -> None:
    """A dealer cannot burn nonces of other keys or fill a node with rows of no form."""
    key, other = ready.create_key(**EVM), ready.create_key(session=b"o" * 32, **EVM)
    limits = ready.nodes["node-1"].limits
    limits.guard.record(use(key_resource(key.key, 1), 5))
    limits.guard.record(use(key_resource(other.key, 1), 6))
    table = table_of(limits, [key])
    check_table("node-1", table, [key])
    assert len(decode_as(LimitTable, table).nonces) == 1
    row = f"{key.key}/1|1|7"
    bad = [
        b"\xc1",
        table_of(limits, [other]),
        encode(LimitTable(nonces={row: b"short"}, floors={}, budgets={})),
        encode(LimitTable(nonces={row + "|1": bytes(64)}, floors={}, budgets={})),
        encode(LimitTable(nonces={}, floors={f"{key.key}/1|x": bytes(9)}, budgets={})),
        encode(LimitTable(nonces={}, floors={}, budgets={"pol_other/x": bytes(80)})),
        encode(LimitTable(nonces={f"{key.key}/1|1|{n}": bytes(64) for n in range(5000)}, floors={}, budgets={})),
    ]
    for data in bad:
        with pytest.raises(PeerError) as caught:
            check_table("node-4", data, [key])
        assert caught.value.culprits == ("node-4",)


def test_nothing_known_is_lowered(ready: CeremonyWorld) -> None:
    """Taking a table with less in it changes nothing."""
    key = ready.create_key(**EVM)
    guard = ready.nodes["node-1"].limits.guard
    account = key_resource(key.key, 1)
    guard.record(use(account, 5))
    adopt(
        ready.nodes["node-1"].limits,
        [encode(LimitTable(nonces={f"{account}|1|5": b"x" * 64}, floors={f"{account}|1": bytes(9)}, budgets={}))],
    )
    guard.check(use(account, 5))
    assert code_of(guard.check, use(account, 5, b"e" * 32)) == "nonce-guard.used"
