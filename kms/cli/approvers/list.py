"""`kms approvers list`."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table


@click.command("list")
@with_target
def list_(target: Target) -> None:
    """List the approvers, each from the document its operators signed."""

    async def work() -> None:
        async with target.client(target.operator()) as client:
            approvers = await client.approvers.list(roster=await client.roster())
        if target.json:
            emit_json([approver.payload() for approver in approvers])
            return
        emit_table(
            ("approver", "name", "groups", "state", "keys"),
            [
                (
                    approver.approver,
                    approver.name,
                    list(approver.groups),
                    approver.state,
                    [f"{key.algorithm}:{key.kid[:12]}" for key in approver.keys],
                )
                for approver in approvers
            ],
            empty="no approvers yet; `kms approvers create NAME --group GROUP` registers one",
        )

    run(work())
