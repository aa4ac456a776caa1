"""The limits of a policy document, read strictly: budgets, rate, nonce guard (specs/policy.md, section 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attestation.errors import CodedError, PolicyError
from enclave.fields import Fields
from enclave.key_specs import NODES_MAX
from enclave.limits.windows import WINDOWS
from enclave.policy.assets import Asset, read_asset
from enclave.policy.checks import read_amount

BUDGETS_MAX = 32
"""Most budgets of a policy: each costs a counter per subject at every node."""

PER = ("agent", "key", "policy")

RATE_MAX = 100_000
"""Most requests of a rate."""

RATE_WINDOW_S_MAX = 86_400
"""Longest window of a rate in seconds: beyond a day use a budget of requests, which survives restarts."""

GUARDS = ("on", "fee-bump", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most `cap` base units of `asset` per calendar window."""

    name: str
    asset: Asset
    window: str
    cap: int
    per: str
    """Who shares it: one `agent`, one `key`, or everybody under the `policy`."""
    strict_against: int
    """Corrupt nodes against which the cap still holds exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `max` requests of one agent with one key within `window_s` seconds, at each node."""

    max: int
    window_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Everything in a policy that takes memory to enforce."""

    budgets: tuple[Budget, ...] = ()
    rate: Rate | None = None
    nonce_guard: str = "on"
    """`on`, `fee-bump` or `off`; counts only for keys it can protect."""

    @classmethod
    def of(cls, budgets: Sequence[Any], rate: Mapping[str, Any] | None, nonce_guard: str | None) -> Limits:
        """Read the members of a document; raises PolicyError (`policy.malformed`)."""
        if len(budgets) > BUDGETS_MAX:
            raise PolicyError(f"expected at most {BUDGETS_MAX} budgets, found {len(budgets)}")
        if nonce_guard is not None and nonce_guard not in GUARDS:
            raise PolicyError(f"nonce_guard: expected one of {', '.join(GUARDS)}")
        read = tuple(_read_budget(item, f"budgets[{number}]") for number, item in enumerate(budgets))
        if len({budget.name for budget in read}) != len(read):
            raise PolicyError("two budgets share one name")
        return cls(budgets=read, rate=None if rate is None else _read_rate(dict(rate)), nonce_guard=nonce_guard or "on")


def _malformed(detail: str) -> CodedError:
    return PolicyError(detail)


def _read_budget(value: Any, where: str) -> Budget:
    fields = Fields(value, where=where, error=_malformed)
    name = fields.label("name")
    asset = read_asset(fields.fields("asset"))
    cap = read_amount(fields, "cap")
    if not cap:
        fields.refuse("expected a positive decimal string of base units", "cap")
    budget = Budget(
        name=name,
        asset=asset,
        window=fields.choice("window", WINDOWS),
        cap=cap,
        per=fields.choice("per", PER),
        strict_against=fields.integer("strict_against", 0, NODES_MAX - 1, 0),
    )
    fields.done()
    return budget


def _read_rate(value: Any) -> Rate:
    fields = Fields(value, where="rate", error=_malformed)
    rate = Rate(max=fields.integer("max", 1, RATE_MAX), window_s=fields.integer("window_s", 1, RATE_WINDOW_S_MAX))
    fields.done()
    return rate
