"""`kms nodes list`."""

from __future__ import annotations

from typing import Any

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table


@click.command("list")
@with_target
def list_(target: Target) -> None:
    """List the nodes as the gateway tells it: connections, whether they work, their verdicts of each other."""

    async def work() -> None:
        async with target.client() as client:
            answer = await client.nodes()
        if target.json:
            emit_json(answer)
            return
        emit_table(
            ("slot", "url", "connected", "boots", "works", "trusts"),
            [
                (
                    node.get("slot"),
                    node.get("url"),
                    bool(node.get("connected")),
                    node.get("boot_counter", "-"),
                    _works(node),
                    _trusts(node),
                )
                for node in answer.get("nodes", [])
            ],
            empty="the gateway names no nodes",
        )

    run(work())


def _works(node: dict[str, Any]) -> str:
    """Whether it may use its shares now, or the code why not."""
    return str(node.get("refuses") or "yes") if node.get("connected") else "-"


def _trusts(node: dict[str, Any]) -> str:
    """How many peers the node trusts; those it does not are named with the code why."""
    verdicts = {peer: code for peer, code in (node.get("verdicts") or {}).items() if peer != node.get("slot")}
    others = [f"{peer} {code}" for peer, code in verdicts.items() if code != "trusted"]
    return f"{len(verdicts) - len(others)} peers" + (", not " + ", ".join(others) if others else "")
