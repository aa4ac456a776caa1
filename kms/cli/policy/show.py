"""`kms policy show`."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json


@click.command()
@click.argument("policy")
@with_target
def show(policy: str, target: Target) -> None:
    """Show POLICY (pol_...), newest version, as its operators signed it (always JSON).

    The signatures are checked here against the roster. `kms policy diff`, `evaluate` and `test` take pol_... as well.
    """

    async def work() -> None:
        async with target.client(target.anyone()) as client:
            document = await client.policies.get(policy, roster=await client.roster())
        emit_json(document.payload())

    run(work())
