"""`kms cluster cold-start`."""

from __future__ import annotations

import click

from kms.cli.failure import REFUSED, UsageError
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table, say
from kms.client.cold_starts import ColdStarts


@click.command("cold-start")
@click.option("--yes", is_flag=True, help="Confirm without asking.")
@click.pass_context
@with_target
def cold_start(ctx: click.Context, yes: bool, target: Target) -> None:
    """Let a cluster go on after all its nodes were restarted at once, from the state on their disks.

    Each node compares the counters you sign with its own and with what it keeps of its peers, and refuses
    if a disk is not the newest.  Exit 1 unless every node goes on.
    """

    async def work() -> dict[str, str]:
        async with target.client(target.operator()) as client:
            nodes = (await client.nodes())["nodes"]
            away = [node["slot"] for node in nodes if not node.get("heartbeat")]
            if away:
                raise UsageError(f"{', '.join(away)}: not connected; every slot has to be named")
            if not target.json:
                emit_table(
                    ("slot", "boots", "advances", "digest", "now"),
                    [
                        (
                            node["slot"],
                            node.get("boot_counter", "-"),
                            node["heartbeat"]["counter"],
                            node["heartbeat"]["digest"][:16],
                            node.get("refuses") or "works",
                        )
                        for node in nodes
                    ],
                    empty="the gateway names no nodes",
                )
            if not yes:
                click.confirm("Was no disk of these put back to an older state?", abort=True, err=True)
            counters = {
                node["slot"]: (int(node["heartbeat"]["counter"]), bytes.fromhex(node["heartbeat"]["digest"]))
                for node in nodes
            }
            return await ColdStarts(client.caller).confirm(await client.roster(), counters)

    codes = run(work())
    if target.json:
        emit_json({"nodes": codes})
    else:
        for slot, code in codes.items():
            say(f"{slot}: {code or 'goes on'}")
    if any(codes.values()):
        ctx.exit(REFUSED)
