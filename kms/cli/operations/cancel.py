"""`kms operations cancel`."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say


@click.command()
@click.argument("operation")
@with_target
def cancel(operation: str, target: Target) -> None:
    """Take OPERATION (op_...) back, as the agent that asked or as an administrator."""

    async def work() -> None:
        async with target.client(target.anyone()) as client:
            answer = await client.operations.cancel(operation)
        if target.json:
            emit_json(answer)
        else:
            say(f"{operation} is {answer['state']}")

    run(work())
