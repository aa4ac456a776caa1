"""`kms agents keys remove`."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target


@click.command()
@click.argument("agent")
@click.argument("kid")
@with_target
def remove(agent: str, kid: str, target: Target) -> None:
    """Take the key KID from AGENT (agt_...): its requests are refused by every node that has the change."""
    from kms.cli.agents.keys.shown import show

    async def work() -> None:
        async with target.client(target.operator()) as client:
            document = await client.agents.remove_key(agent, kid, roster=await client.roster())
        show(document, target)

    run(work())
