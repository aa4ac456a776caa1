"""All limits of one node behind one question, asked right before a share is touched.

Rules kept: everything is checked before anything is taken, so a refused request costs nothing; what is taken is
taken once per request id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from enclave.certificate import KeyCertificate
from enclave.documents import PolicyDocument
from enclave.errors import RefusedError
from enclave.limits.allowance import UNIT, Share, check_caps
from enclave.limits.budgets import Bill, Budgets
from enclave.limits.nonce_guard import NonceGuard, Use, use_of
from enclave.limits.rates import Rates
from enclave.limits.terms import Budget, Rate
from enclave.limits.windows import window_of
from enclave.payload.decrypt import DecryptBody
from enclave.payload.export import ExportBody
from enclave.payload.sign import Payload
from enclave.seal import SealedStore
from enclave.tokens import Token
from enclave.workload import WorkloadFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one request takes at this node."""

    token: Token
    bills: tuple[Bill, ...]
    rate: tuple[str, Rate] | None
    """Subject and rate, where the policy has one."""
    use: Use | None
    now: int


class NodeLimits:
    """Budgets, rates and nonces of a node."""

    def __init__(self, store: SealedStore, *, slots: int) -> None:
        """`slots` is the size of the roster."""
        self.budgets = Budgets(store)
        self.rates = Rates()
        self.guard = NonceGuard(store)
        self._slots = slots

    def check(
        self,
        policy: PolicyDocument,
        key: KeyCertificate,
        token: Token,
        kind: str,
        payload: Payload | DecryptBody | WorkloadFacts | ExportBody,
        now: int,
    ) -> Charge:
        """What the request would take; nothing is taken yet.

        Raises RefusedError: `budget.exceeded`, `budget.max-single`, `budget.unreadable`, `budget.full`,
        `rate.exceeded`, `rate.full`, `nonce-guard.used`, `nonce-guard.full`.
        """
        limits = policy.limits
        use = use_of(key, payload, limits.nonce_guard) if isinstance(payload, Payload) else None
        if use is not None:
            self.guard.check(use)
        bills = tuple(self._bills(policy, key, token, kind, payload, now))
        self.budgets.check(bills, token.request_id, now)
        rate = None
        if limits.rate is not None:
            rate = f"{key.key}/{token.issuer}", limits.rate
            self.rates.check(*rate, token.request_id, now)
        return Charge(token=token, bills=bills, rate=rate, use=use, now=now)

    def follow(self, slots: int) -> None:
        """The roster has another size from now on."""
        self._slots = slots

    def share(self, budget: Budget, key: KeyCertificate) -> Share:
        """The part of the key's nodes in a budget."""
        return Share.of(budget, nodes=len(key.nodes), quorum=key.signing_quorum, slots=self._slots)

    def check_caps(self, policy: PolicyDocument, *, nodes: int, quorum: int) -> None:
        """Refuse a policy for keys of this shape if it promises more than a budget lets through (`budget.cap`)."""
        check_caps(policy.limits.budgets, policy.compiled, nodes=nodes, quorum=quorum, slots=self._slots)

    def take(self, charge: Charge) -> None:
        """Take what was checked; durable after the store's next commit."""
        if charge.use is not None:
            self.guard.record(charge.use)
        self.budgets.charge(charge.bills, charge.token.request_id, charge.token.expires_at)
        if charge.rate is not None:
            self.rates.count(*charge.rate, charge.token.request_id, charge.now)

    def _bills(
        self,
        policy: PolicyDocument,
        key: KeyCertificate,
        token: Token,
        kind: str,
        payload: Payload | DecryptBody | WorkloadFacts | ExportBody,
        now: int,
    ) -> Iterator[Bill]:
        for budget in policy.limits.budgets:
            amount = budget.asset.amount(kind, key.usage, payload)
            if not amount:
                continue
            share = self.share(budget, key)
            most = share.allowance(budget.cap)
            if amount > most:
                raise RefusedError(
                    f"budget {budget.name} lets at most {most} through at once, this takes {amount}",
                    code="budget.max-single",
                    hint="`kms policy budgets` shows max_single",
                )
            subject = {"key": key.key, "agent": token.issuer, "policy": ""}[budget.per]
            yield Bill(
                counter=counter_of(policy.policy, budget, subject),
                budget=budget.name,
                amount=share.charge(amount),
                limit=budget.cap * UNIT,
                window=window_of(budget.window, now),
            )


def counter_prefix(policy: str, budget: Budget) -> str:
    """What the names of all counters of a budget begin with: another asset, window or subject counts anew."""
    asset = hashlib.sha256(budget.asset.text.encode()).hexdigest()[:16]
    return f"{policy}/{budget.name}/{asset}/{budget.window}/{budget.per}/"


def counter_of(policy: str, budget: Budget, subject: str) -> str:
    """A counter's name; it does not hold the policy's version."""
    return counter_prefix(policy, budget) + subject
