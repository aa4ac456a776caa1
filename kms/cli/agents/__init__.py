"""`kms agents`: create, list, keys, revoke, revoke-credential."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "create": ("kms.cli.agents.create:create", "Register an agent; makes its key file unless given a public key."),
    "list": ("kms.cli.agents.list:list_", "List the agents."),
    "keys": ("kms.cli.agents.keys:keys", "Add keys to an agent, or remove them."),
    "revoke": ("kms.cli.agents.revoke:revoke", "Revoke an agent for good."),
    "revoke-credential": ("kms.cli.agents.credential:revoke_credential", "Take back one key of an agent."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def agents() -> None:
    """Register and revoke agents."""
