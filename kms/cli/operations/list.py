"""`kms operations list`."""

from __future__ import annotations

from pathlib import Path

import click

from kms.cli.operations.credentials import approver_option, someone
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table

STATES = ("waiting", "running", "succeeded", "failed", "rejected", "cancelled", "expired")


@click.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@approver_option
@with_target
def list_(state: str | None, approver_key: Path | None, target: Target) -> None:
    """List operations: an agent's own, those of an approver's groups, all for operators."""

    async def work() -> None:
        async with target.client(someone(target, approver_key)) as client:
            found = await client.operations.list(state=state)
        if target.json:
            emit_json(found)
            return
        emit_table(
            ("operation", "kind", "state", "principal", "resource"),
            [
                [item.get(name, "") for name in ("operation", "kind", "state", "principal", "resource")]
                for item in found
            ],
            empty="no operations",
        )

    run(work())
