"""`kms nodes repair`: give a node the shares back that it should hold."""

from __future__ import annotations

from pathlib import Path

import click

from kms.cli.keys.renew import finish
from kms.cli.options import Target, run, with_target


@click.command()
@click.argument("node")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign into this file for other operators instead of ordering.",
)
@with_target
def repair(node: str, out: Path | None, target: Target) -> None:
    """Rebuild every share that NODE lost, from T of the others; nobody learns another's share."""

    async def work() -> None:
        from enclave.ceremonies.facts import Kind

        async with target.client(target.operator()) as client:
            ceremonies = client.ceremonies
            await finish(ceremonies, lambda: ceremonies.order(Kind.REPAIR, [], target=node), out, target)

    run(work())
