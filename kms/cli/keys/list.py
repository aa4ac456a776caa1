"""`kms keys list`."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table
from kms.cli.progress import working


@click.command("list")
@with_target
def list_(target: Target) -> None:
    """List the keys this principal may see, each verified against its nodes' certificate."""

    async def work() -> None:
        async with target.client(target.anyone()) as client:
            with working("verifying the nodes"):
                keys = [key.to_json() async for key in client.keys.list()]
        if target.json:
            emit_json(keys)
            return
        emit_table(
            ("key", "name", "spec", "usage", "state", "needs", "address"),
            [
                (
                    key["key"],
                    key["name"],
                    key["spec"],
                    key["usage"],
                    key["state"],
                    f"{key['shares_needed']} of {len(key['nodes'])}",
                    next(iter(key["addresses"].values()), key["public_key"][:20] + "..."),
                )
                for key in keys
            ],
            empty="no keys yet; `kms keys create NAME --usage evm` makes one",
        )

    run(work())
