"""How much of a budget one node may let through, so that no choice of signers exceeds the whole (specs/budgets.md).

Of a cap C for a key with n nodes and quorum s, each node gives away A = floor(C s / n), and each use takes its
value from all s nodes that take part.  Against f corrupt nodes: A = floor(C (s - f) / (n - f)).  Keys that share
a budget may differ in n and s, so a node counts v (n - f) / (s - f) per use of v, up to C: the same bound, exact
in units of 1/UNIT.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from enclave.errors import RefusedError
from enclave.key_specs import NODES_MAX
from enclave.limits.terms import Budget
from enclave.policy.rules import Policy, Rule

UNIT = math.lcm(*range(1, NODES_MAX + 1))
"""Parts of a base unit: every quorum divides it, so that no charge is rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part a key's nodes play in a budget: n and s after taking f away from both."""

    nodes: int
    quorum: int

    @classmethod
    def of(cls, budget: Budget, *, nodes: int, quorum: int, slots: int) -> Share:
        """For uses of a key of `nodes` and `quorum`; a budget of several keys spreads over the roster's `slots`."""
        spread = nodes if budget.per == "key" else max(slots, nodes)
        return cls(nodes=spread - budget.strict_against, quorum=quorum - budget.strict_against)

    def allowance(self, cap: int) -> int:
        """A: the most one node lets through, hence the largest single use."""
        return cap * self.quorum // self.nodes if self.quorum > 0 else 0

    def charge(self, value: int) -> int:
        """What a use of `value` takes from a node, in parts of a base unit of the cap."""
        return value * self.nodes * (UNIT // self.quorum)


def check_caps(budgets: tuple[Budget, ...], policy: Policy, *, nodes: int, quorum: int, slots: int) -> None:
    """Refuse a policy that promises more per transaction than a budget can ever let through at once.

    Raises RefusedError (`budget.cap`).
    """
    for budget in budgets:
        most = Share.of(budget, nodes=nodes, quorum=quorum, slots=slots).allowance(budget.cap)
        if not most:
            raise RefusedError(
                f"budget {budget.name} lets nothing through for keys of {quorum} of {nodes} nodes",
                code="budget.cap",
                hint="raise the cap or lower strict_against",
            )
        for rule in policy.rules:
            for cap in () if rule.denies else _caps(rule, budget):
                if cap > most:
                    raise RefusedError(
                        f"rule {rule.name} allows {cap} at once, budget {budget.name} at most {most} (max_single)",
                        code="budget.cap",
                        hint="lower the rule's cap or raise the budget",
                    )


def _caps(rule: Rule, budget: Budget) -> Iterator[int]:
    """What a rule says that one transaction may take of the budget's asset; nothing where it does not say."""
    asset = budget.asset
    evm, solana = rule.evm, rule.solana
    if evm is not None and asset.chain_id is not None and asset.chain_id in (evm.chain_ids or {asset.chain_id}):
        if asset.kind == "evm-native" and evm.value_max is not None:
            yield evm.value_max + (evm.fee_max or 0)
        terms = (evm.tokens or {}).get(asset.token or b"")
        if asset.kind == "evm-token" and terms is not None and terms.amount_max is not None:
            yield terms.amount_max
    if solana is not None and asset.kind == "lamports" and solana.lamports_max is not None:
        yield solana.lamports_max + (solana.fee_max or 0)
    if solana is not None and asset.kind == "spl-token":
        named = (solana.tokens or {}).get(asset.token or b"")
        if named is not None and named.amount_max is not None:
            yield named.amount_max
