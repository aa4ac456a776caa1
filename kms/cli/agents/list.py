"""`kms agents list`."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table


@click.command("list")
@with_target
def list_(target: Target) -> None:
    """List the agents, each from the document its operators signed."""

    async def work() -> None:
        async with target.client(target.operator()) as client:
            agents = await client.agents.list(roster=await client.roster())
        if target.json:
            emit_json([agent.payload() for agent in agents])
            return
        emit_table(
            ("agent", "name", "state", "keys"),
            [
                (agent.agent, agent.name, agent.state, [f"{key.algorithm}:{key.kid[:12]}" for key in agent.keys])
                for agent in agents
            ],
            empty="no agents yet; `kms agents create NAME` registers one",
        )

    run(work())
