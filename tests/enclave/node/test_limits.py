"""Limits at the nodes: every use of a share takes from them once, on disk before the share leaves."""

from __future__ import annotations

from typing import Any

import pytest

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.certificate import KeyCertificate
from enclave.documents import PolicyDocument
from enclave.ids import new_id
from enclave.tokens import make_token
from enclave.wire.budgets import BudgetsRequest
from enclave.wire.reconstruct import ReleaseRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.ecdsa_run import EcdsaRun
from tests.enclave.node.test_freeze import partial
from tests.enclave.node.world import ALLOW_DECRYPT, ALLOW_MESSAGES, World, evm_body, message_body

ANY_EVM: dict[str, Any] = {
    "name": "evm",
    "effect": "allow",
    "kinds": ["evm_transaction", "eip7702_authorization"],
    "evm": {"delegates": ["0x" + "22" * 20]},
}
READ = ALLOW_DECRYPT | {"plaintext_to_gateway": "allow"}
FREE = {"max_fee_per_gas": "0", "max_priority_fee_per_gas": "0"}
NATIVE = {"kind": "evm-native", "chain_id": 1}


def put_policy(world: World, *budgets: dict[str, Any], version: int = 2, **limits: Any) -> None:
    """The next version of the policy, with these limits."""
    rules = (ALLOW_MESSAGES, ANY_EVM, READ)
    world.put(
        PolicyDocument(
            cluster=world.roster.cluster_id,
            policy=world.policy_id,
            name="limits",
            version=version,
            rules=rules,
            issued_at=world.now,
            budgets=budgets,
            **limits,
        )
    )


def a_budget(cap: int, asset: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A daily budget of the key."""
    budget = {"name": "daily", "asset": asset or {"kind": "requests"}, "window": "day", "cap": str(cap), "per": "key"}
    return budget | changes


def key_of(world: World, spec: str, usage: str, session: bytes = b"s" * 32, **changes: Any) -> KeyCertificate:
    """A key that can be used at once."""
    key = world.create_key(spec=spec, usage=usage, session=session, **changes)
    world.now += 1
    return key


def restart(world: World, *slots: str) -> None:
    """Stop and start nodes as a crash would leave them."""
    world.stop(*slots)
    world.start(*(slots or world.slots))
    world.attest()
    world.now += 1


def test_frost_takes_from_a_budget(ready: World) -> None:
    """Five uses of 3 of 5 nodes, and not one more whoever is asked."""
    key = key_of(ready, "ed25519", "generic")
    put_policy(ready, a_budget(5))
    done = 0
    for first in range(5):
        for second in range(first + 1, 5):
            for third in range(second + 1, 5):
                slots = [ready.slots[number] for number in (first, second, third)]
                try:
                    done += bool(ready.sign(key, b"x", slots))
                except Exception as error:
                    assert getattr(error, "code", "") == "budget.exceeded"  # noqa: PT017  any subset may be refused
    assert 4 <= done <= 5


def test_attempts_of_one_request_are_charged_once(ready: World) -> None:
    """Three attempts, one charge: a bad share elsewhere costs nobody's budget twice."""
    key = key_of(ready, "ed25519", "generic")
    put_policy(ready, a_budget(5))
    body, slots = message_body(b"x"), ready.slots[:3]
    token = ready.token(key, body)
    for _ in range(3):
        ready.call("node-1", "sign", ready.sign_requests(slots, token, body)["node-1"])
    assert code_of(ready.call, "node-1", "sign", ready.sign_requests(slots, token, body)["node-1"]) == "token.replayed"
    for _ in range(2):
        fresh = ready.token(key, body)
        ready.call("node-1", "sign", ready.sign_requests(slots, fresh, body)["node-1"])
    fresh = ready.token(key, body)
    assert code_of(ready.call, "node-1", "sign", ready.sign_requests(slots, fresh, body)["node-1"]) == "budget.exceeded"


def test_threshold_ecdsa_takes_value_and_fees(ready: World) -> None:
    """Every signer takes it at the first round; the whole costs value plus the most that fees can be."""
    key = key_of(ready, "secp256k1-ecdsa", "evm", shares_needed=2)
    put_policy(ready, a_budget(10 * 21_000_000_001_000, NATIVE))
    for nonce in range(6):
        assert EcdsaRun(ready, key, evm_body(nonce=nonce)).signature()
    assert code_of(EcdsaRun(ready, key, evm_body(nonce=6)).start) == "budget.exceeded"
    too_much = evm_body(nonce=7, value=str(10**18))
    assert code_of(EcdsaRun(ready, key, too_much).start) == "budget.max-single"


def test_release_and_assembly_take_together_once(ready: World) -> None:
    """Senders at release, the assembler at assembly, and an assembler outside the signer set not at all."""
    key = key_of(ready, "secp256k1-ecdsa", "evm", custody="reconstruct", assemblers=["node-1"])
    put_policy(ready, a_budget(5), nonce_guard="off")
    assert ready.assemble(key, evm_body(), signers=ready.slots[:3], assembler="node-1")
    assert ready.assemble(key, evm_body(), signers=ready.slots[2:], assembler="node-1")
    spent = {slot: taken(ready, slot) for slot in ready.slots}
    assert spent == {"node-1": 2, "node-2": 2, "node-3": 4, "node-4": 2, "node-5": 2}


def taken(world: World, slot: str) -> int:
    """What a node shows to have counted, scaled to the cap (5/3 per use of 3 of 5, rounded up)."""
    reply = world.call(slot, "budgets", budgets_request(world))
    return sum(int(counter.spent) for counter in reply.counters)


def budgets_request(world: World, **changes: Any) -> BudgetsRequest:
    """An operator asks for the policy's budgets."""
    claims: dict[str, Any] = {"issuer": world.operator_id, "signer": world.operator} | changes
    token = make_token(
        claims.pop("signer"),
        cluster=world.roster.cluster_id,
        act="policies.get",
        resource=world.policy_id,
        body=b"",
        now=world.now,
        **claims,
    )
    return BudgetsRequest(token=token, policy=world.policy_id)


def test_decryption_takes_from_a_budget_of_requests(ready: World) -> None:
    """A partial is a use like any other."""
    key = key_of(ready, "hpke-x25519", "decrypt")
    put_policy(ready, a_budget(2, {"kind": "requests", "kinds": ["decrypt"]}))
    assert partial(ready, key)
    assert code_of(partial, ready, key) == "budget.exceeded"


def test_a_charge_is_on_disk_before_the_share(ready: World) -> None:
    """A node that crashes right after its share left has not forgotten it, but for less than a chunk."""
    key = key_of(ready, "ed25519", "generic")
    put_policy(ready, a_budget(5))
    ready.sign(key, b"x")
    restart(ready)
    ready.sign(key, b"x")  # of three uses one is spent, and with it most of a sixteenth of the allowance
    assert code_of(ready.sign, key, b"x") == "budget.exceeded"
    put_policy(ready, a_budget(5), version=3)
    assert code_of(ready.sign, key, b"x") == "budget.exceeded"
    put_policy(ready, a_budget(50), version=4)
    assert ready.sign(key, b"x")


def test_a_policy_above_its_budget_is_not_taken(ready: World) -> None:
    """Nodes that hold a key compare at load, and at a key's order where the policy came first."""
    key_of(ready, "secp256k1-ecdsa", "evm", custody="reconstruct")
    rules = {"name": "capped", "effect": "allow", "kinds": ["evm_transaction"], "evm": {"value_max": "601"}}

    def document(cap: int, policy: str) -> PolicyDocument:
        return PolicyDocument(
            cluster=ready.roster.cluster_id,
            policy=policy,
            name="capped",
            version=2,
            rules=[rules],
            issued_at=ready.now,
            budgets=[a_budget(cap, NATIVE)],
        )

    assert code_of(ready.put, document(1000, ready.policy_id)) == "budget.cap"
    ready.put(document(1002, ready.policy_id))
    ready.policy_id = new_id("pol")
    ready.put(document(1000, ready.policy_id))
    order = ready.order(spec="secp256k1-ecdsa", usage="evm", custody="reconstruct")
    start = ready.ceremony_start(order, session=b"t" * 32)
    assert code_of(ready.call, "node-1", "ceremony-start", start) == "budget.cap"


def test_a_used_nonce_is_refused_with_the_gateway_bypassed(ready: World) -> None:
    """Any two quorums share a node, so a second transaction finds one that refuses, also after every restart."""
    key = key_of(ready, "secp256k1-ecdsa", "evm", custody="reconstruct")
    put_policy(ready)
    body, other = evm_body(nonce=4), evm_body(nonce=4, value="999")
    assert ready.assemble(key, body, signers=ready.slots[:3], assembler="node-1")

    def release(slot: str, content: bytes) -> Any:
        signers = ready.slots[:3]
        request = ReleaseRequest(token=ready.token(key, content), body=content, signers=signers, assembler="node-1")
        ready.open_channel(slot, "node-1")
        return ready.call(slot, "release", request)

    assert code_of(release, "node-3", other) == "nonce-guard.used"
    restart(ready)
    assert code_of(release, "node-3", other) == "nonce-guard.used"
    assert release("node-3", body)
    assert code_of(ready.assemble, key, other, signers=ready.slots[2:], assembler="node-1") == "nonce-guard.used"
    put_policy(ready, nonce_guard="fee-bump", version=3)
    assert release("node-3", evm_body(nonce=4, max_fee_per_gas="2000000000"))
    assert code_of(release, "node-3", other) == "nonce-guard.used"
    put_policy(ready, nonce_guard="off", version=4)
    assert release("node-3", other)


def test_the_guard_holds_in_threshold_ecdsa(ready: World) -> None:
    """The nonce is used from the first round on, even if the attempt comes to nothing."""
    key = key_of(ready, "secp256k1-ecdsa", "evm", shares_needed=2)
    put_policy(ready)
    EcdsaRun(ready, key, evm_body(nonce=1)).start()
    restart(ready)
    other = EcdsaRun(ready, key, evm_body(nonce=1, value="5"), signers=("node-3", "node-4", "node-5"))
    assert code_of(other.start) == "nonce-guard.used"
    assert EcdsaRun(ready, key, evm_body(nonce=1)).signature()
    body = canonical_json(
        {
            "kind": "eip7702_authorization",
            "authorization": {"chain_id": 0, "address": "0x" + "22" * 20, "nonce": 1},
        }
    )
    assert code_of(EcdsaRun(ready, key, body).start) == "nonce-guard.used"


def test_a_rate_is_counted_per_agent_and_key(ready: World) -> None:
    """Within the window two requests, whatever their attempts; then it goes on."""
    key, other = key_of(ready, "ed25519", "generic"), key_of(ready, "ed25519", "generic", b"o" * 32)
    put_policy(ready, rate={"max": 2, "window_s": 10})
    ready.sign(key, b"x")
    ready.sign(key, b"x")
    assert code_of(ready.sign, key, b"x") == "rate.exceeded"
    ready.sign(other, b"x")
    ready.now += 10
    assert ready.sign(key, b"x")


def test_a_refused_request_costs_nothing(ready: World) -> None:
    """A budget that refuses leaves the rate alone, a rate that refuses the budget."""
    key = key_of(ready, "ed25519", "generic")
    put_policy(ready, a_budget(2), rate={"max": 2, "window_s": 10})
    ready.sign(key, b"x")
    for _ in range(3):
        assert code_of(ready.sign, key, b"x") == "budget.exceeded"
    put_policy(ready, a_budget(50), rate={"max": 2, "window_s": 10}, version=3)
    ready.sign(key, b"x")
    assert code_of(ready.sign, key, b"x") == "rate.exceeded"


def test_budgets_are_shown_to_whom_they_concern(ready: World) -> None:
    """Operators see every counter; an agent its own; strangers nothing."""
    key = key_of(ready, "ed25519", "generic")
    put_policy(ready, a_budget(5), a_budget(5, name="mine", per="agent"), a_budget(5, name="all", per="policy"))
    ready.sign(key, b"x")
    reply = ready.call("node-1", "budgets", budgets_request(ready))
    assert [(item.budget, item.subject, item.spent) for item in reply.counters] == [
        ("daily", key.key, "2"),
        ("mine", ready.agent_id, "2"),
        ("all", "", "2"),
    ]
    assert {(item.budget, item.max_single) for item in reply.keys} == {("daily", "3"), ("mine", "3"), ("all", "3")}
    assert {item.key for item in reply.keys} == {key.key}
    own = budgets_request(ready, issuer=ready.agent_id, signer=ready.agent)
    assert ready.call("node-1", "budgets", own) == reply
    named = ALLOW_MESSAGES | {"agents": [new_id("agt")]}
    ready.put(ready.policy_document(named, version=3))
    assert code_of(ready.call, "node-1", "budgets", own) == "policy.denied"
    stranger = budgets_request(ready, issuer=ready.agent_id, signer=ready.operator)
    assert code_of(ready.call, "node-1", "budgets", stranger) == "token.unknown-key"


@pytest.mark.parametrize("kind", ["digest", "eip7702_authorization"])
def test_nothing_unreadable_passes_a_value_budget(ready: World, kind: str) -> None:
    """A blind signature under a budget would be a hole in it."""
    key = key_of(ready, "secp256k1-ecdsa", "evm", shares_needed=2)
    ready.put(
        PolicyDocument(
            cluster=ready.roster.cluster_id,
            policy=ready.policy_id,
            name="limits",
            version=2,
            rules=[
                {
                    "name": "all",
                    "effect": "allow",
                    "kinds": ["digest", "eip7702_authorization"],
                    "digest": "allow",
                    "evm": {"delegates": ["0x" + "22" * 20]},
                }
            ],
            issued_at=ready.now,
            budgets=[a_budget(10**18, NATIVE)],
        )
    )
    bodies = {
        "digest": {"kind": "digest", "digest": b64url(b"d" * 32)},
        "eip7702_authorization": {
            "kind": "eip7702_authorization",
            "authorization": {"chain_id": 1, "address": "0x" + "22" * 20, "nonce": 0},
        },
    }
    assert code_of(EcdsaRun(ready, key, canonical_json(bodies[kind])).start) == "budget.unreadable"
