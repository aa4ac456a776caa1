"""A thousand concurrent requests against a cap: a relay that chooses the signers, corrupt nodes, and the honest way."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
from nacl.signing import VerifyKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from enclave.certificate import KeyCertificate
from enclave.ids import new_id
from enclave.limits.node_limits import Charge, NodeLimits
from enclave.threshold import frost
from enclave.wire.signing import SignReply
from tests.enclave.payload.messages import transfer_message
from tests.kms.fabric import Fabric
from tests.kms.malicious_gateway import Attempt, MaliciousGateway

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAP = 40_000_000
FEE = 5_000
"""Lamports per signature, which budgets count."""
REQUESTS, CONNECTIONS = 1_000, 4
VALUES = (1, 70_000, 250_000, 999_999, 2_500_000)
RULES = [{"name": "payments", "effect": "allow", "kinds": ["solana_message"], "solana": {}}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """A key under a daily budget of CAP lamports."""

    key: dict[str, Any]
    policy: str

    def body(self, lamports: int) -> bytes:
        """A payment."""
        return canonical_json({"kind": "solana_message", "message": b64url(transfer_message(lamports))})


async def spending(fabric: Fabric, **budget: Any) -> Spending:
    """A fresh key and policy."""
    policy = new_id("pol")
    lamports = {"name": "daily", "asset": {"kind": "lamports"}, "window": "day", "cap": str(CAP), "per": "key"}
    document = fabric.policy_document(policy=policy, rules=RULES, budgets=[lamports | budget])
    status, answer = await fabric.put("PUT", f"/v1/policies/{policy}", document)
    assert status == 200, answer
    key = await fabric.create_key(name=f"spends-{policy[4:12]}", usage="solana", policy=policy)
    return Spending(key=key, policy=policy)


class _Generous(NodeLimits):
    """What a corrupt node does with its limits: nothing."""

    def check(self, _policy: Any, _key: Any, token: Any, _kind: Any, _payload: Any, now: int) -> Charge:
        return Charge(token=token, bills=(), rate=None, use=None, now=now)


def check_signature(key: dict[str, Any], attempt: Attempt, message: bytes) -> None:
    """What the relay makes of the shares is a signature that another library accepts."""
    certificate = KeyCertificate.parse(b64url_decode(key["certificate"]["body"]))
    index = {node.slot: node.index for node in certificate.nodes}
    shares = {index[slot]: reply.share for slot, reply in attempt.answers.items() if isinstance(reply, SignReply)}
    signature = frost.aggregate(
        public_key=certificate.public_key,
        message=message,
        commitments=[(index[signer.slot], signer.hiding, signer.binding) for signer in attempt.signers],
        shares=shares,
        public_shares={node.index: node.public_share for node in certificate.nodes},
    )
    VerifyKey(certificate.public_key).verify(message, signature)


@pytest.mark.parametrize(
    ("corrupt", "strict", "bound"),
    [
        (0, 0, Fraction(CAP)),
        (1, 0, Fraction(CAP * 3 * 4, 5 * 2)),
        (2, 0, Fraction(CAP * 3 * 3, 5 * 1)),
        (1, 1, Fraction(CAP)),
    ],
)
async def test_no_choice_of_signers_exceeds_the_bound(
    fabric: Fabric, corrupt: int, strict: int, bound: Fraction
) -> None:
    """The relay asks nodes directly, a thousand requests at once, with the corrupt nodes in every set."""
    spent = await spending(fabric, strict_against=strict)
    chance = random.Random(f"{corrupt} {strict}")
    liars, honest = fabric.slots[:corrupt], fabric.slots[corrupt:]
    genuine = {slot: fabric.nodes[slot].limits for slot in liars}
    for slot in liars:
        fabric.nodes[slot].limits = _Generous(fabric.nodes[slot].store, slots=len(fabric.slots))
    values, attempts = [], []
    for _ in range(REQUESTS):
        values.append(chance.choice(VALUES))
        body = spent.body(values[-1])
        slots = sorted([*liars, *chance.sample(honest, 3 - corrupt)])
        attempts.append(Attempt(token=fabric.token("sign", f"{spent.key['key']}/1", body), body=body, slots=slots))

    async def relay(part: list[Attempt]) -> None:
        async with MaliciousGateway(fabric.roster) as gateway:
            await gateway.sign(part)

    try:
        await asyncio.gather(*(relay(attempts[number::CONNECTIONS]) for number in range(CONNECTIONS)))
    finally:
        for slot, limits in genuine.items():
            fabric.nodes[slot].limits = limits
    signed = [(value, attempt) for value, attempt in zip(values, attempts, strict=True) if attempt.signed]
    total = sum(value + FEE for value, _ in signed)
    assert CAP // 4 < total <= bound
    if corrupt == 2:
        assert total > CAP  # the liars lied: without `strict_against` the formula is needed
    assert {code for attempt in attempts for code in attempt.codes} == {"budget.exceeded"}
    for value, attempt in signed[:3]:
        check_signature(spent.key, attempt, transfer_message(value))


async def test_the_cap_is_reached_and_not_passed_by_one_unit(fabric: Fabric) -> None:
    """Sets that use all nodes evenly spend the cap to its last lamport; then not one more can be moved."""
    spent = await spending(fabric)
    sets = [[0, 1, 2], [0, 1, 3], [0, 2, 4], [1, 3, 4], [2, 3, 4]]
    each = CAP // len(sets)

    def attempt(lamports: int, numbers: list[int]) -> Attempt:
        body = spent.body(lamports)
        token = fabric.token("sign", f"{spent.key['key']}/1", body)
        return Attempt(token=token, body=body, slots=[fabric.slots[number] for number in numbers])

    async with MaliciousGateway(fabric.roster) as gateway:
        good = [attempt(each - FEE, numbers) for numbers in sets]
        await gateway.sign(good)
        assert all(one.signed for one in good)
        more = [attempt(0, numbers) for numbers in sets]
        await gateway.sign(more)
    assert [one.codes for one in more] == [{"budget.exceeded"}] * len(more)
    assert not any(isinstance(answer, SignReply) for one in more for answer in one.answers.values())
