"""May this request use this key?  The question every use of a share passes, in one order (specs/node.md section 4).

0. this node may work at all (enclave.working);
1. the token verifies over the exact body, for this act, and was issued after this boot; of a batch, the item asked
   for is taken from that body, and everything below is about the item alone (enclave.batches);
2. its issuer is an active agent, not frozen, whose credential still counts, or an operator (whom only a rule
   that names it lets through step 4);
3. the key it names is held here, enabled, not frozen, and the token is younger than the key;
4. the key's own policy, as this node holds it, allows the payload this node parsed, and no chain it may take
   effect on is frozen; where its rule wants approvals, enough people approved this very request;
5. every member of the signer set is trusted now in this node's own table;
6. the request id has attempts left, and the policy's budgets, rate and nonce guard let it through.
Parameters come from the token and the body, from nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from enclave import freezing
from enclave.approvals.counting import check_grant
from enclave.batches import unwrapped
from enclave.errors import CallerError, RefusedError, TokenError
from enclave.keys import HeldKey
from enclave.policy import ApprovalTerms, Decision, Request, evaluate
from enclave.policy.widening import stricter
from enclave.receipts.asked import Asked
from enclave.roster import Role
from enclave.signing_key import PublicKey
from enclave.tokens import Act, Token, parse_key_resource, verify_token
from enclave.working import check_working

if TYPE_CHECKING:
    from enclave.approvals.book import Grant
    from enclave.documents import PolicyDocument
    from enclave.payload.decrypt import DecryptBody
    from enclave.payload.export import ExportBody
    from enclave.payload.sign import Payload
    from enclave.state import NodeState
    from enclave.workload import WorkloadFacts


@dataclass(slots=True, kw_only=True)
class Authorised:
    """A request that passed steps 1 to 3."""

    token: Token
    key: HeldKey
    body: bytes
    """What the token authorises for this use: the body, or the item's own body out of a batch."""
    grant: Grant | None = None
    """Where the token works beyond its life because people approved: its `expires_at` is then the grant's end."""
    judged: Judged | None = None
    """What step 4 allowed; step 6 takes it out of the limits, so no share is touched without both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A payload and the policy that allowed it."""

    policy: PolicyDocument
    kind: str
    payload: Payload | DecryptBody | WorkloadFacts | ExportBody
    approvals: ApprovalTerms | None = None
    """What the rule wanted of people, and had."""


def authorise_use(
    node: NodeState, token: str, body: bytes, act: Act | None, now: int, *, item: int | None = None
) -> Authorised:
    """Steps 1 to 3; any act where `act` is None.  A granted token (specs/approvals.md) is verified as of its time.

    With `item` the token is a batch's and the use that item's.  Raises TokenError, RefusedError (`agent.revoked`,
    `credential.revoked`, `key.disabled`, `frozen.*`), CallerError (`key.unknown`, `batch.*`).
    """

    # 0
    check_working(node, now)
    node.receipts.check_room()
    # 1
    grant = node.approvals.granted(node.serving, token, now) if item is None else None
    verified = verify_token(
        token,
        body=body,
        cluster=node.roster.cluster_id,
        now=now if grant is None else grant.received_at,
        keys=partial(registered_key, node),
        federation=node.federation,
        act=act if item is None else Act.BATCH,
        resource=None if item is None else "*",
        not_before=node.started_at if grant is None else 0,
    )
    if grant is not None:
        verified = replace(verified, expires_at=grant.until)
    if item is not None:
        node.receipts.asked = Asked(token=verified)
        verified, body = unwrapped(verified, body, item, act)
    request = _admitted(node, verified, body, now)
    request.grant = grant
    return request


def authorise_past_use(node: NodeState, token: str, body: bytes, received_at: int) -> Authorised:
    """Steps 1 to 3 as of another time: the caller has to prove that nodes verified the token then.

    Raises as `authorise_use`.
    """
    verified = verify_token(
        token,
        body=body,
        cluster=node.roster.cluster_id,
        now=received_at,
        keys=partial(registered_key, node),
        federation=node.federation,
        act=None,
    )
    return _admitted(node, verified, body, received_at)


def registered_key(node: NodeState, issuer: str, kid: str) -> PublicKey | None:
    """The key of an agent or operator that is registered here under these names, revoked ones included."""
    return node.directory.agent_key(issuer, kid) or node.roster.operator_key(issuer, kid)


def _admitted(node: NodeState, verified: Token, body: bytes, now: int) -> Authorised:
    """Steps 2 and 3."""
    asked = node.receipts.asked = Asked(token=verified)
    if verified.act is Act.BATCH:
        raise TokenError("a batch is used item by item", code="token.act")
    # 2
    check_issuer(node, verified)
    # 3
    key, version = parse_key_resource(verified.resource)
    held = asked.key = node.keys.get(key, version, node.asked_epoch)
    if verified.issued_at < held.certificate.activated_at:
        raise TokenError("issued before the key became active", code="token.before-boot", hint="sign it again")
    if verified.issued_at < held.held_since:
        raise RefusedError("issued before this node held the key", code="key.epoch", hint="sign it again")
    node.ceremonies.check_resolved(key, version, now)
    check_key_state(node, key)
    return Authorised(token=verified, key=held, body=body)


def check_issuer(node: NodeState, token: Token) -> None:
    """Step 2, also between rounds; raises RefusedError (`agent.revoked`, `credential.revoked`, `frozen.agent`)."""
    agent = node.directory.agent(token.issuer)
    if agent is not None and agent.state != "active":
        raise RefusedError("agent is revoked", code="agent.revoked")
    if node.directory.is_taken_back(token.issuer, token.kid):
        raise RefusedError("this credential of the agent is revoked", code="credential.revoked")
    freezing.check_agent(node.directory, token.issuer)


def check_key_state(node: NodeState, key: str) -> None:
    """The changing part of step 3, also between rounds; raises RefusedError (`key.disabled`, `frozen.*`)."""
    if not node.directory.is_enabled(key):
        raise RefusedError("key is disabled", code="key.disabled")
    freezing.check_key(node.directory, key)


def check_sign_policy(node: NodeState, request: Authorised, payload: Payload, now: int) -> None:
    """Step 4 for a signature: the agent's own deadline, then policy, then freezes of chains.

    Raises RefusedError (`payload.expired`, `policy.unknown`, `policy.denied`, `frozen.chain`).
    """
    if payload.not_after is not None and now > payload.not_after:
        raise RefusedError("the request's own deadline has passed", code="payload.expired")
    _decide(node, request, payload.policy_kind, payload, now)
    freezing.check_chain(node.directory, request.key.certificate.usage, payload)


def check_decrypt_policy(node: NodeState, request: Authorised, body: DecryptBody, now: int) -> None:
    """Step 4 for opening a ciphertext; raises RefusedError (`policy.unknown`, `policy.denied`)."""
    _decide(node, request, body.kind, body, now)


def check_release_policy(node: NodeState, request: Authorised, facts: WorkloadFacts, now: int) -> None:
    """Step 4 for releasing a secret; raises RefusedError (`policy.unknown`, `policy.denied`)."""
    _decide(node, request, facts.kind, facts, now)


def check_export_policy(node: NodeState, request: Authorised, body: ExportBody, now: int) -> None:
    """Step 4 for letting a key out; raises RefusedError (`policy.unknown`, `policy.denied`)."""
    _decide(node, request, body.kind, body, now)


def check_members(node: NodeState, request: Authorised, signers: list[str], now: int) -> list[int]:
    """Step 5 for a signer set: its share indices; raises CallerError or VerdictError."""
    indices = request.key.indices(signers)
    node.verdicts.require(signers, now)
    return indices


def check_own_part(node: NodeState, signers: list[str]) -> None:
    """This node must be a member itself: it contributes nothing to a set it is not in."""
    if node.slot not in signers:
        raise CallerError("this node is not in the signer set", code="signers.not-member")


def take_attempt(node: NodeState, request: Authorised, purpose: bytes, now: int, *, contributes: bool = True) -> None:
    """Step 6, the last before the share is touched; a node that does not contribute its own share takes no budget.

    Raises TokenError (`token.replayed`), RefusedError (`ledger.full`, `budget.*`, `rate.*`, `nonce-guard.*`,
    `approval.used`, `approval.rejected`, `approval.cancelled`).
    """
    judged, token = request.judged, request.token
    if judged is None:
        raise AssertionError("policy has not judged this request")
    charge = None
    if contributes:
        key = request.key.certificate
        charge = node.limits.check(judged.policy, key, token, judged.kind, judged.payload, now)
        waiting = node.directory.waiting(key.policy)
        if waiting is not None:
            node.limits.check(waiting, key, token, judged.kind, judged.payload, now)
    node.ledger.take(purpose, token.request_id, expires_at=token.expires_at, now=now)
    if request.grant is not None:
        node.approvals.begin(request.grant, now)
    if charge is not None:
        node.limits.take(charge)


def authorise_order(
    node: NodeState, token: str, body: bytes, now: int, *, act: Act = Act.KEYS_CREATE, resource: str = "*"
) -> Token:
    """An administrator's order for a new key; raises TokenError, RefusedError (`operator.role`, `frozen.cluster`)."""
    check_working(node, now)
    verified = verify_token(
        token,
        body=body,
        cluster=node.roster.cluster_id,
        now=now,
        keys=node.roster.operator_key,
        act=act,
        resource=resource,
        not_before=node.started_at,
    )
    node.receipts.asked = Asked(token=verified)
    operator = node.roster.operator(verified.kid)
    if operator is None or Role.ADMIN not in operator.roles:
        raise RefusedError("creating keys needs the role admin", code="operator.role")
    freezing.check_cluster(node.directory)
    return verified


def _decide(
    node: NodeState,
    request: Authorised,
    kind: str,
    payload: Payload | DecryptBody | WorkloadFacts | ExportBody,
    now: int,
) -> None:
    policy, decision = judge(node, request, kind, payload, now)
    if decision.approvals is not None or (request.grant is not None and decision.allowed):
        check_grant(node, request.grant, request.token, policy, decision.approvals, now)
    elif not decision.allowed:
        raise RefusedError(decision.reason, code="policy.denied")
    request.judged = Judged(policy=policy, kind=kind, payload=payload, approvals=decision.approvals)


def check_still_approved(node: NodeState, request: Authorised, now: int) -> None:
    """The changing part of approvals, between rounds; raises RefusedError (`approval.*`)."""
    judged = request.judged
    if judged is None or request.grant is None:
        return
    policy = node.directory.policy(judged.policy.policy) or judged.policy
    check_grant(node, request.grant, request.token, policy, judged.approvals, now)


def judge(
    node: NodeState,
    request: Authorised,
    kind: str,
    payload: Payload | DecryptBody | WorkloadFacts | ExportBody,
    now: int,
) -> tuple[PolicyDocument, Decision]:
    """What the key's policy, as held here, says of a payload; raises RefusedError (`policy.unknown`)."""
    certificate = request.key.certificate
    policy = node.directory.policy(certificate.policy)
    if policy is None:
        raise RefusedError(
            "this node does not hold the key's policy, so nothing is allowed",
            code="policy.unknown",
            hint="put the policy first",
        )
    question = Request(agent=request.token.issuer, key=certificate.key, kind=kind, payload=payload, now=now)
    decision = evaluate(policy, question)
    waiting = node.directory.waiting(certificate.policy)
    if waiting is not None:
        # What the next version takes away counts on receipt, what it gives after activation: both must allow.
        decision = stricter(decision, evaluate(waiting, question))
    asked = node.receipts.asked
    if asked is not None:
        asked.policy, asked.policy_version, asked.rule = policy.policy, policy.version, decision.rule or ""
        asked.payload = payload
    return policy, decision
