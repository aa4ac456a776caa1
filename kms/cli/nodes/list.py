"""`kms nodes list`."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table


@click.command("list")
@with_target
def list_(target: Target) -> None:
    """List the nodes as the gateway tells it: connections, and the nodes' verdicts of each other."""

    async def work() -> None:
        async with target.client() as client:
            answer = await client.nodes()
        if target.json:
            emit_json(answer)
            return
        emit_table(
            ("slot", "url", "connected", "boots", "its verdicts"),
            [
                (
                    node.get("slot"),
                    node.get("url"),
                    bool(node.get("connected")),
                    node.get("boot_counter", "-"),
                    node.get("verdicts") or "-",
                )
                for node in answer.get("nodes", [])
            ],
            empty="the gateway names no nodes",
        )

    run(work())
