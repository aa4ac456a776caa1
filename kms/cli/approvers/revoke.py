"""`kms approvers revoke`."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say


@click.command()
@click.argument("approver")
@with_target
def revoke(approver: str, target: Target) -> None:
    """Revoke APPROVER (apr_...) for good; no node counts their approvals from now on."""

    async def work() -> None:
        async with target.client(target.operator()) as client:
            document = await client.approvers.revoke(approver, roster=await client.roster())
        if target.json:
            emit_json(document.payload())
        else:
            say(f"{document.approver} ({document.name}) is revoked")

    run(work())
