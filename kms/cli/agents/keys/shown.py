"""An agent with its keys, as both verbs print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kms.cli.output import emit_facts, emit_json

if TYPE_CHECKING:
    from kms.cli.options import Target
    from kms.client.documents import Agent


def show(agent: Agent, target: Target) -> None:
    """Every key that counts from now on: whoever signed the change compares it with what they meant."""
    if target.json:
        emit_json(agent.payload())
    else:
        keys = [f"{key.algorithm}:{key.kid}" for key in agent.keys]
        emit_facts({"agent": agent.agent, "name": agent.name, "keys": keys})
