"""`kms secrets list` and `kms secrets show`."""

from __future__ import annotations

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, emit_table
from kms.cli.progress import working


@click.command("list")
@with_target
def list_(target: Target) -> None:
    """List the secrets this principal may see, each verified against its nodes' certificate."""

    async def work() -> None:
        async with target.client(target.anyone()) as client:
            with working("verifying the nodes"):
                found = [item.to_json() for item in await client.secrets.list()]
        if target.json:
            emit_json(found)
            return
        emit_table(
            ("secret", "name", "state", "needs", "policy"),
            [
                (
                    item["key"],
                    item["name"],
                    item["state"],
                    f"{item['shares_needed']} of {len(item['nodes'])}",
                    item["policy"],
                )
                for item in found
            ],
            empty="no secrets yet; `kms secrets put NAME FILE` stores one",
        )

    run(work())


@click.command()
@click.argument("secret")
@with_target
def show(secret: str, target: Target) -> None:
    """Show the certificate of SECRET (sec_...); its content is only released to workloads."""

    async def work() -> None:
        async with target.client(target.anyone()) as client:
            with working("verifying the nodes"):
                value = (await client.secrets.get(secret)).to_json()
        if target.json:
            emit_json(value)
        else:
            names = ("key", "name", "state", "policy", "shares_needed", "nodes", "wrapped_digest", "certified_by")
            emit_facts({name: value[name] for name in names})

    run(work())
