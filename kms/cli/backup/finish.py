"""`kms backup finish`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from attestation.errors import CodedError
from kms.cli.cluster.roster.propose import read_object
from kms.cli.failure import REFUSED, UsageError
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, printable, say
from kms.cli.progress import counting

ADOPT_S = 120.0
"""How long the gateway may take to learn the keys from the nodes, in seconds."""

PAUSE_S = 1.0


@click.command()
@click.option("--documents", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What kms backup restore wrote; for a gateway that lost its database.")  # fmt: skip
@click.option("--keys", "expected", type=click.IntRange(0), help="Wait until the gateway knows so many keys.")
@click.pass_context
@with_target
def finish(ctx: click.Context, documents: Path | None, expected: int | None, target: Target) -> None:
    """After the restored nodes are up: give the gateway its documents, then refresh every key at once.

    Restored shares are as old as their bundle, and whoever held a copy of the lost nodes' state holds the same ones:
    the refresh makes both worthless.  Export a new set afterwards.  Exit 1 if a key was not refreshed.
    """
    import asyncio

    from attestation.canonical import canonical_json

    given = read_object(documents)["documents"] if documents is not None else []
    if not isinstance(given, list):
        raise UsageError(f"{documents} was not written by kms backup restore")

    async def work() -> tuple[dict[str, str], Any]:
        refused: dict[str, str] = {}
        async with target.client(target.operator()) as client:
            roster = await client.roster()
            for value in given:
                envelope = canonical_json(value)
                try:
                    await client.documents.put(envelope, roster=roster)
                except CodedError as error:
                    refused[str(client.documents.contents(envelope).get("type"))] = error.code
            deadline = time.monotonic() + ADOPT_S
            while len([ref async for ref in client.ceremonies.refs()]) < (expected or 0):
                if time.monotonic() > deadline:
                    raise UsageError("the gateway has not learnt that many keys from the nodes")
                await asyncio.sleep(PAUSE_S)
            with counting("keys refreshed") as progress:
                return refused, await client.ceremonies.refresh_all(progress=progress)

    refused, renewed = run(work())
    if target.json:
        emit_json({"refused": refused, **renewed.to_json()})
    else:
        say(f"{len(given) - len(refused)} documents handed in, {len(renewed.keys)} keys refreshed")
        for what, code in (refused | renewed.failed).items():
            say(f"  {printable(what)}: {code}")
        say("now export a new set: kms backup export")
    if renewed.failed:
        ctx.exit(REFUSED)
