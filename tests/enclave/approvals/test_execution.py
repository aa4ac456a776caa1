"""A parked and approved request is executed after its token expired, once; every check fails alone, at the nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from nacl.signing import VerifyKey

from enclave.approvals.book import GRANT_S
from enclave.certificate import KeyCertificate
from enclave.restrictions import CredentialRevocation, Freeze, Scope
from enclave.signing_key import SigningKey
from enclave.threshold import frost
from enclave.wire.signing import NoncesRequest, Signer, SignRequest
from tests.enclave.approvals.conftest import MESSAGE
from tests.enclave.approvals.kit import TERMS, WAITS, Asked, Person, both, refused_grant
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World, message_body

QUORUM = ["node-1", "node-2", "node-3"]


def signed(asked: Asked, slots: list[str] = QUORUM, *, connection: int = 1) -> bytes:
    """The signature over MESSAGE, from nodes that were told of the approvals."""
    world, key = asked.world, asked.key
    requests = world.sign_requests(slots, asked.text, asked.body)
    index = {node.slot: node.index for node in key.nodes}
    first = next(iter(requests.values()))
    return frost.aggregate(
        public_key=key.public_key,
        message=MESSAGE,
        commitments=[(index[signer.slot], signer.hiding, signer.binding) for signer in first.signers],
        shares={
            index[slot]: world.call(slot, "sign", request, connection=connection).share
            for slot, request in requests.items()
        },
        public_shares={node.index: node.public_share for node in key.nodes},
    )


def refused(asked: Asked, slots: list[str] = QUORUM) -> str:
    """The code with which the first signer refuses to sign."""
    requests = asked.world.sign_requests(slots, asked.text, asked.body)
    return code_of(asked.world.call, slots[0], "sign", requests[slots[0]])


# --- it works -------------------------------------------------------------------------------------------


def test_approved_request_is_executed_after_its_token_expired(asked: Asked, people: list[Person]) -> None:
    """Two people approve what nodes had verified; the signature is an ordinary one."""
    until = asked.world.now + GRANT_S
    assert {granted.until for granted in asked.grant(people[0], people[2])} == {until}
    VerifyKey(asked.key.public_key).verify(MESSAGE, signed(asked))


def test_nodes_agree_on_the_fingerprint_of_the_approvers_client(asked: Asked) -> None:
    """All nodes park under the fingerprint a client computes from the bytes alone."""
    assert {statement.fingerprint for statement in asked.statements} == {asked.fingerprint()}


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "ES256K"])
def test_approvers_sign_with_any_algorithm(world: World, asked: Asked, people: list[Person], algorithm: str) -> None:
    """Approvers have the same algorithms as agents."""
    person = Person("hardware", SigningKey.generate(algorithm))
    world.put(person.document(world))
    assert asked.grant(people[0], person)


def test_a_node_that_was_away_executes_on_the_word_of_others(
    world: World, key: KeyCertificate, people: list[Person]
) -> None:
    """Statements of a signing quorum are enough, also for a node that never saw the token alive."""
    asked = Asked(world, key, message_body(MESSAGE))
    asked.park("node-1", "node-2", "node-3")
    world.now += 100
    asked.grant(*people[:2])
    VerifyKey(key.public_key).verify(MESSAGE, signed(asked, ["node-3", "node-4", "node-5"]))


def test_without_approvals_the_request_is_refused(world: World, key: KeyCertificate) -> None:
    """A living token alone does nothing where the rule wants people."""
    assert refused(Asked(world, key, message_body(MESSAGE))) == "approval.required"


def test_without_a_grant_an_expired_token_is_expired(asked: Asked) -> None:
    """Parking alone revives nothing."""
    assert refused(asked) == "token.expired"


def test_a_grant_ends_after_a_minute(asked: Asked, people: list[Person]) -> None:
    """Then the token is expired again, and an unused request can be granted anew."""
    asked.grant(*people[:2])
    asked.world.now += GRANT_S + 1
    assert refused(asked) == "token.expired"
    asked.grant(*people[:2])
    assert signed(asked)


def test_a_grant_is_for_its_own_token_only(asked: Asked, people: list[Person]) -> None:
    """Another expired request of the same agent for the same bytes stays expired."""
    world = asked.world
    other = Asked(world, asked.key, asked.body, now=world.now - 100)
    asked.grant(*people[:2])
    requests = world.sign_requests(QUORUM, other.text, other.body)
    assert code_of(world.call, "node-1", "sign", requests["node-1"]) == "token.expired"


def test_another_body_is_refused_under_a_grant(asked: Asked, people: list[Person]) -> None:
    """The gateway swaps the body after the approvals were checked."""
    asked.grant(*people[:2])
    body = message_body(b"pay the gateway")
    requests = asked.world.sign_requests(QUORUM, asked.text, body)
    assert code_of(asked.world.call, "node-1", "sign", requests["node-1"]) == "token.body"


# --- what nodes said -------------------------------------------------------------------------------------


def test_statements_of_untrusted_nodes_do_not_count(asked: Asked, people: list[Person]) -> None:
    """A node whose machine was revoked since may say what it likes."""
    world = asked.world
    world.registry.revoke(world.platform("node-3").platform_id, "stolen", world.now)
    world.push()
    request = asked.request(both(asked, people), statements=asked.statements[:3])
    assert refused_grant(asked, request) == "approval.parked"


def test_statements_do_not_make_a_token(world: World, key: KeyCertificate, people: list[Person]) -> None:
    """What nodes parked is one token; a forged one has no statements and no signature."""
    good = Asked(world, key, message_body(MESSAGE))
    good.park()
    forged = Asked(world, key, message_body(MESSAGE), signer=SigningKey.generate())
    request = good.request([], token=forged.text)
    assert refused_grant(good, request) == "token.unknown-key"
    assert people


def test_a_dead_token_cannot_be_parked(world: World, key: KeyCertificate) -> None:
    """Nodes speak only of what they verified in time."""
    late = Asked(world, key, message_body(MESSAGE), now=world.now - 61)
    assert code_of(late.park) == "token.expired"


def test_only_what_waits_is_parked(world: World, key: KeyCertificate) -> None:
    """Nothing is parked that policy denies, or allows at once."""
    body = message_body(MESSAGE)
    world.put(world.policy_document({"name": "free", "effect": "allow", "kinds": ["message"]}, version=2))
    assert code_of(Asked(world, key, body).park) == "approval.not-needed"
    world.put(world.policy_document(version=3))
    assert code_of(Asked(world, key, body).park) == "policy.denied"


def test_an_operator_who_asks_does_not_approve(world: World, key: KeyCertificate, people: list[Person]) -> None:
    """Operators use keys where a rule names them; their own approver key does not count then."""
    world.put(world.policy_document(WAITS | {"agents": [world.operator_id]}, version=2))
    asked = Asked(world, key, message_body(MESSAGE), issuer=world.operator_id, signer=world.operator)
    asked.park()
    person = Person("boss", world.operator)
    world.put(person.document(world))
    approvals = [one.decides(world, asked.fingerprint()) for one in (people[0], person)]
    assert refused_grant(asked, asked.request(approvals)) == "approval.own-request"


# --- once -----------------------------------------------------------------------------------------------


def test_an_executed_request_is_used_up_for_other_gateways(asked: Asked, people: list[Person]) -> None:
    """Two gateways hold the same approvals: every node lets one of them begin."""
    world = asked.world
    asked.grant(*people[:2], connection=1)
    asked.grant(*people[:2], connection=2)
    assert signed(asked)
    made = _sign_requests(asked, connection=2)
    for slot in QUORUM:
        assert code_of(world.call, slot, "sign", made[slot], connection=2) == "approval.used"
    assert code_of(asked.grant, *people[:2], connection=2) == "approval.used"


def test_retries_stay_with_whoever_began_within_the_minute(asked: Asked, people: list[Person]) -> None:
    """A bad share elsewhere costs an attempt; there are three, and none after the minute."""
    asked.grant(*people[:2])
    for _ in range(3):
        assert signed(asked)
    assert refused(asked) == "token.replayed"
    asked.world.now += GRANT_S + 1
    assert refused(asked) == "token.expired"
    assert code_of(asked.grant, *people[:2]) == "approval.used"


def test_an_execution_survives_a_restart(asked: Asked, people: list[Person]) -> None:
    """A restarted node remembers that it executed: it takes no approvals and signs no statement for it again."""
    world = asked.world
    asked.grant(*people[:2])
    assert signed(asked)
    _restart(world, "node-1")
    world.attest()
    statements = [asked.statements[1], *asked.renewed("node-4", "node-5")]
    assert refused_grant(asked, asked.request(both(asked, people), statements=statements)) == "approval.used"
    assert code_of(asked.renewed, "node-1") == "approval.used"


def test_the_mark_is_in_the_commit_of_the_share(asked: Asked, people: list[Person]) -> None:
    """What the server has not committed it has not sent: mark and share are lost or kept together."""
    world = asked.world
    asked.grant(*people[:2])
    requests = world.sign_requests(QUORUM, asked.text, asked.body)
    world.nodes["node-1"].handle(1, "sign", requests["node-1"], world.now)
    world.call("node-2", "sign", requests["node-2"])
    for slot in ("node-1", "node-2"):
        _restart(world, slot)
    marked = {slot: asked.request_id.hex() in dict(world.nodes[slot].store.items("ended")) for slot in QUORUM[:2]}
    assert marked == {"node-1": False, "node-2": True}


def test_what_waits_survives_a_restart(asked: Asked, people: list[Person]) -> None:
    """All nodes restart; each signs again for its new boot, and the request is executed."""
    world = asked.world
    stale = asked.statements
    world.stop()
    world.start()
    world.attest()
    request = asked.request(both(asked, people), statements=stale)
    assert refused_grant(asked, request) == "approval.parked"
    asked.statements = asked.renewed()
    asked.grant(*people[:2])
    VerifyKey(asked.key.public_key).verify(MESSAGE, signed(asked))


def test_a_lost_connection_takes_its_grants_along(asked: Asked, people: list[Person]) -> None:
    """Whoever gets the same connection number next inherits nothing."""
    asked.grant(*people[:2])
    for node in asked.world.nodes.values():
        node.disconnect(1)
    assert refused(asked) == "token.expired"


# --- what changed in between ----------------------------------------------------------------------------


def _agent_revoked(world: World, _asked: Asked, _people: list[Person]) -> None:
    world.put(world.agent_document(state="revoked", sequence=2))


def _credential_revoked(world: World, _asked: Asked, _people: list[Person]) -> None:
    world.put(
        CredentialRevocation(
            cluster=world.roster.cluster_id, agent=world.agent_id, credential=world.agent.kid, sequence=1,
            issued_at=world.now,
        )
    )  # fmt: skip


def _freeze(scope: Scope, **target: str) -> Callable[[World, Asked, list[Person]], None]:
    def act(world: World, asked: Asked, _people: list[Person]) -> None:
        named = {"agent": world.agent_id, "key": asked.key.key}.get(str(scope), target.get("target"))
        world.put(
            Freeze(
                cluster=world.roster.cluster_id, scope=scope, target=named, state="frozen", sequence=1,
                issued_at=world.now,
            )
        )  # fmt: skip

    return act


def _key_disabled(world: World, asked: Asked, _people: list[Person]) -> None:
    world.put(world.key_state(asked.key.key, "disabled"))


def _approver_revoked(world: World, _asked: Asked, people: list[Person]) -> None:
    world.put(people[0].document(world, state="revoked", sequence=2))


def _approver_moved(world: World, _asked: Asked, people: list[Person]) -> None:
    world.put(people[0].document(world, sequence=2, groups=("operations",)))


def _approver_key_replaced(world: World, _asked: Asked, people: list[Person]) -> None:
    world.put(people[0].document(world, sequence=2, keys=(SigningKey.generate().public,)))


def _new_policy(*rules: dict[str, Any]) -> Callable[[World, Asked, list[Person]], None]:
    def act(world: World, _asked: Asked, _people: list[Person]) -> None:
        world.put(world.policy_document(*rules, version=2))

    return act


def _peer_revoked(world: World, _asked: Asked, _people: list[Person]) -> None:
    world.registry.revoke(world.platform("node-3").platform_id, "stolen", world.now)
    world.push()


def _budget(world: World, _asked: Asked, _people: list[Person]) -> None:
    budget = {"name": "few", "asset": {"kind": "requests"}, "window": "day", "cap": "1", "per": "key"}
    world.put(dataclasses.replace(world.policy_document(WAITS, version=2), budgets=(budget,)))


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (_agent_revoked, "agent.revoked"),
        (_credential_revoked, "credential.revoked"),
        (_freeze(Scope.AGENT), "frozen.agent"),
        (_freeze(Scope.KEY), "frozen.key"),
        (_freeze(Scope.CLUSTER), "frozen.cluster"),
        (_freeze(Scope.CHAIN, target="solana"), "frozen.chain"),
        (_key_disabled, "key.disabled"),
        (_approver_revoked, "approval.approver"),
        (_approver_moved, "approval.approver"),
        (_approver_key_replaced, "approval.approver"),
        (_new_policy(WAITS), "approval.policy"),
        (_new_policy({"name": "free", "effect": "allow", "kinds": ["message"]}), "approval.policy"),
        (_new_policy(WAITS | {"approvals": TERMS | {"minimum": 3}}), "approval.policy"),
        (_new_policy(), "policy.denied"),
        (_peer_revoked, "attestation-denied"),
    ],
)
def test_everything_counts_at_execution(
    asked: Asked, people: list[Person], act: Callable[[World, Asked, list[Person]], None], code: str
) -> None:
    """What happened between approval and execution stops it, although the approvals were taken."""
    asked.grant(*people[:2])
    act(asked.world, asked, people)
    assert refused(asked) == code


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (_agent_revoked, "agent.revoked"),
        (_credential_revoked, "credential.revoked"),
        (_freeze(Scope.KEY), "frozen.key"),
        (_key_disabled, "key.disabled"),
        (_new_policy(WAITS), "approval.signature"),
        (_new_policy({"name": "free", "effect": "allow", "kinds": ["message"]}), "approval.not-needed"),
        (_new_policy(), "policy.denied"),
    ],
)
def test_everything_counts_when_approvals_are_taken(
    asked: Asked, people: list[Person], act: Callable[[World, Asked, list[Person]], None], code: str
) -> None:
    """What happened between parking and approval stops it there."""
    approvals = both(asked, people)
    act(asked.world, asked, people)
    if code == "approval.signature":  # parked under the old version, too
        assert refused_grant(asked, asked.request(approvals)) == "approval.parked"
        return
    assert refused_grant(asked, asked.request(approvals)) == code


def test_budget_is_charged_at_execution(world: World, key: KeyCertificate, people: list[Person]) -> None:
    """Two requests are approved, the budget lets one through; parking took nothing."""
    budget = {"name": "few", "asset": {"kind": "requests"}, "window": "day", "cap": "2", "per": "key"}
    world.put(dataclasses.replace(world.policy_document(WAITS, version=2), budgets=(budget,)))
    pair = [Asked(world, key, message_body(MESSAGE)) for _ in range(2)]
    for asked in pair:
        asked.park()
        asked.grant(*people[:2])
    assert signed(pair[0])
    assert refused(pair[1]) == "budget.exceeded"
    assert asked.request_id.hex() not in dict(world.nodes["node-1"].store.items("ended"))


def test_approvals_end_at_their_time(world: World, key: KeyCertificate, people: list[Person]) -> None:
    """Granted shortly before, executed at the very end: refused."""
    world.put(world.policy_document(WAITS | {"approvals": TERMS | {"lasts_s": 60}}, version=2))
    asked = Asked(world, key, message_body(MESSAGE))
    asked.park()
    issued = asked.token.issued_at
    world.now = issued + 59
    assert {granted.until for granted in asked.grant(*people[:2])} == {issued + 60}
    world.now = issued + 60
    assert refused(asked) == "approval.expired"
    assert code_of(asked.grant, *people[:2]) == "approval.expired"


def test_the_requests_own_deadline_ends_it(world: World, key: KeyCertificate, people: list[Person]) -> None:
    """`not_after` bounds approvals, too."""
    body = b'{"kind":"message","message":"aGk","not_after":%d}' % (world.now + 30)
    asked = Asked(world, key, body)
    assert {statement.expires_at for statement in asked.park()} == {world.now + 30}
    assert people


def _sign_requests(asked: Asked, connection: int) -> dict[str, SignRequest]:
    suite = NoncesRequest(suite="ed25519", count=1)
    nonces = {slot: asked.world.call(slot, "nonces", suite, connection=connection).nonces[0] for slot in QUORUM}
    signers = [Signer(slot, nonce.hiding, nonce.binding) for slot, nonce in nonces.items()]
    return {
        slot: SignRequest(token=asked.text, body=asked.body, nonce=nonce.nonce, signers=signers)
        for slot, nonce in nonces.items()
    }


def _restart(world: World, slot: str) -> None:
    world.crash(slot)
    world.start(slot)
    world.push(slot)
