"""`kms agents revoke`."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say


@click.command()
@click.argument("agent")
@with_target
def revoke(agent: str, target: Target) -> None:
    """Revoke AGENT (agt_...) for good; its requests are refused by every node from now on."""

    async def work() -> None:
        async with target.client(target.operator()) as client:
            document = await client.agents.revoke(agent, roster=await client.roster())
        if target.json:
            emit_json(document.payload())
        else:
            say(f"{document.agent} ({document.name}) is revoked")

    run(work())
