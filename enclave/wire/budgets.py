"""How far a policy's budgets are used at one node."""

from __future__ import annotations

from enclave.wire.message import Message


class BudgetsRequest(Message, frozen=True):
    """Ask how far the budgets of a policy are used at this node; the token is over an empty body."""

    token: str
    policy: str


class BudgetCounter(Message, frozen=True):
    """One counter: decimal strings of base units, scaled to the whole cap."""

    budget: str
    subject: str
    """Agent or key; empty where everybody under the policy shares it."""
    spent: str
    reserved: str
    """Counted on disk beyond what is spent: lost if the node restarts."""
    resets_at: int


class BudgetKey(Message, frozen=True):
    """What one key of the policy may take at once."""

    budget: str
    key: str
    max_single: str


class BudgetsReply(Message, frozen=True):
    """This node's counters; nobody else proves them."""

    version: int
    """Of the policy held here."""
    counters: list[BudgetCounter]
    keys: list[BudgetKey]
