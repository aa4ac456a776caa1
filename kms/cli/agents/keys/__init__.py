"""`kms agents keys`: add, remove."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "add": ("kms.cli.agents.keys.add:add", "Let another key speak for an agent."),
    "remove": ("kms.cli.agents.keys.remove:remove", "Take a key from an agent."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def keys() -> None:
    """Change an agent's keys without changing the agent.

    \b
    kms agents keys add agt_... --key-file next.pem     both keys count
    kms agents keys remove agt_... KID                  only the new one does

    A removed key may be added again.  One that was stolen is taken back for good with `kms agents
    revoke-credential`, which one signature of whoever notices is enough for.
    """
