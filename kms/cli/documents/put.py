"""`kms documents put`."""

from __future__ import annotations

from typing import BinaryIO

import click

from kms.cli.files import read_limited
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say


@click.command()
@click.argument("file", type=click.File("rb"))
@with_target
def put(file: BinaryIO, target: Target) -> None:
    """Hand in FILE; its signatures are counted here first."""
    envelope = read_limited(file)

    async def work() -> None:
        async with target.client(target.operator()) as client:
            answer = await client.documents.put(envelope, roster=await client.roster())
        if target.json:
            emit_json(answer)
        else:
            say("the document is in force")

    run(work())
