"""`kms cluster roster apply`: through the gateway and straight to every node, done when nodes have proven it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kms.cli.failure import REFUSED
from kms.cli.files import read_limited
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table, say
from kms.cli.progress import working

if TYPE_CHECKING:
    from kms.client.roster_updates import RosterReport


@click.command("apply")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.pass_context
@with_target
def apply_(ctx: click.Context, file: Path | None, target: Target) -> None:
    """Bring the signed roster in FILE to every node; without FILE, the newest one again.

    It goes to the gateway and straight to every node's address.  Exit 0 when n - s + 1 nodes of every key, and more
    than half of all nodes, have signed that they hold it: from then on what it takes away is gone for every set of
    signers.  What still waits (an upgrade delay, a node that is away) is listed; run the command again for it.
    """

    async def work() -> RosterReport:
        envelope = None
        if file is not None:
            with file.open("rb") as opened:
                envelope = read_limited(opened)
        async with target.client(target.operator()) as client:
            with working("handing the roster to every node"):
                return await client.rosters.apply(envelope)

    report = run(work())
    if target.json:
        emit_json(report.to_json())
    else:
        _show(report)
    if not report.held:
        ctx.exit(REFUSED)


def _show(report: RosterReport) -> None:
    emit_table(
        ("slot", "acknowledged", "in force", "waits until", "why"),
        [
            (
                node.slot,
                node.acknowledged,
                "-" if node.version is None else node.version,
                _date(node.not_before),
                node.trouble,
            )
            for node in report.nodes
        ],
        empty="the roster has no slots",
    )
    waiting = [(key.key, key.name, f"{len(key.acknowledged)} of {key.needed}") for key in report.keys if not key.done]
    if waiting:
        emit_table(("not yet", "name", "acknowledged"), waiting, empty="")
    if report.relayed:
        say(f"the gateway did not take it [{report.relayed}]; the nodes were reached directly")
    if not report.held:
        say(f"version {report.version} is not held yet: what it takes away may still be used; run it again")
    elif len(report.in_force) == len(report.nodes):
        say(f"version {report.version} is in force at every node")
    else:
        say(f"version {report.version} is held, and in force at {len(report.in_force)} of {len(report.nodes)} nodes")


def _date(when: int | None) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%MZ") if when else "-"
