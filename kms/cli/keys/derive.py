"""`kms keys derive`: the address of a child key, computed here from the certified parent."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json
from kms.cli.progress import working


@click.command()
@click.argument("key")
@click.argument("path")
@with_target
def derive(key: str, path: str, target: Target) -> None:
    """Show the child of KEY (key_...) at PATH, such as m/0/5.

    Nothing is created: sign for it with `kms sign KEY --path PATH`.
    """

    async def work() -> None:
        async with target.client(target.anyone()) as client:
            with working("verifying the nodes"):
                child = await client.keys.derive(key, path)
        value = child.to_json()
        if target.json:
            emit_json(value)
            return
        emit_facts(
            {
                "key": value["key"],
                "path": value["path"],
                "public_key": value["public_key"],
                **{f"{chain}_address": address for chain, address in value["addresses"].items()},
                "chain_code": value["chain_code"],
            }
        )

    run(work())
