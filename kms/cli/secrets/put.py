"""`kms secrets put`: seal here, share among verified nodes."""

from __future__ import annotations

from typing import BinaryIO

import click

from kms.cli.failure import UsageError
from kms.cli.files import read_limited
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json
from kms.cli.progress import working


@click.command()
@click.argument("name")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--policy", help="Policy that names the workloads it may be released to (pol_...).")
@click.option("--shares-needed", type=click.IntRange(2, 16), default=3, show_default=True, help="T.")
@click.option("--node", "nodes", multiple=True, metavar="SLOT", help="A node that holds a share; repeat; default all.")
@with_target
def put(
    name: str, file: BinaryIO, policy: str | None, shares_needed: int, nodes: tuple[str, ...], target: Target
) -> None:
    """Store FILE (default stdin, at most 64 KiB) as the secret NAME; it leaves this machine only encrypted."""
    policy = policy or target.file().default_policy
    if policy is None:
        raise UsageError("which policy releases it?", hint="pass --policy pol_...; `kms policy put` makes one")
    content = read_limited(file)

    async def work() -> None:
        async with target.client(target.operator()) as client:
            with working("verifying the nodes and sealing the shares"):
                stored = await client.secrets.put(
                    name, content, policy=policy, nodes=list(nodes) or None, shares_needed=shares_needed
                )
        if stored.missing:
            click.echo(f"not taken by {', '.join(stored.missing)}", err=True)
        value = stored.to_json()
        if target.json:
            emit_json(value)
        else:
            emit_facts(
                {
                    "secret": value["key"],
                    "name": value["name"],
                    "policy": value["policy"],
                    "shares_needed": f"{value['shares_needed']} of {len(value['nodes'])} ({', '.join(value['nodes'])})",
                    "certified_by": ", ".join(value["certified_by"]),
                }
            )

    run(work())
