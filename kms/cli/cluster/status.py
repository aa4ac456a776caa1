"""`kms cluster status`."""

from __future__ import annotations

from typing import Any

import click

from kms.cli.failure import REFUSED
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, emit_table, say
from kms.cli.progress import working


@click.command()
@click.pass_context
@with_target
def status(ctx: click.Context, target: Target) -> None:
    """Show what is in force at every node, by evidence verified from this machine.

    Exit 1 unless every node is trusted and works by the newest roster.  What waits at nodes is their word, carried by
    the gateway.
    """

    async def work() -> tuple[Any, Any]:
        async with target.client() as client:
            with working("asking every node for fresh evidence"):
                return await client.look(), await client.rosters.standing()

    view, standing = run(work())
    told = {item["slot"]: item for item in standing}
    roster = view.roster
    rows = []
    for slot, check in view.nodes.items():
        waits = told.get(slot, {})
        rows.append(
            {
                "slot": slot,
                "result": "trusted" if check.standing else check.error.code,
                "version": view.version_at(slot),
                "boot_counter": check.standing.identity.boot_counter if check.standing else None,
                "held": waits.get("newest"),
                "not_before": waits.get("not_before"),
                "refusal": waits.get("refusal", ""),
            }
        )
    done = all(row["result"] == "trusted" and row["version"] == roster.version for row in rows)
    if target.json:
        emit_json(
            {
                "cluster": roster.cluster_id.hex(),
                "environment": str(roster.environment),
                "roster_version": roster.version,
                "roster_digest": roster.digest.hex(),
                "incarnation": roster.incarnation,
                "nodes": rows,
                "done": done,
            }
        )
    else:
        emit_facts(
            {
                "cluster": roster.cluster_id.hex(),
                "environment": str(roster.environment),
                "roster": f"version {roster.version}, digest {roster.digest.hex()[:16]}",
                "incarnation": roster.incarnation,
            }
        )
        click.echo()
        emit_table(
            ("slot", "evidence", "in force", "held", "boots", "why"),
            [
                (
                    row["slot"],
                    row["result"],
                    row["version"] or "-",
                    row["held"] or "-",
                    row["boot_counter"] or "-",
                    row["refusal"],
                )
                for row in rows
            ],
            empty="the roster has no slots",
        )
        if not done:
            say("not every node is trusted under the newest roster; `kms cluster roster apply` brings it again")
    if not done:
        ctx.exit(REFUSED)
