"""`kms policy put`."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from kms.cli.files import write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json
from kms.cli.policy.file import LIMITS, read_policy


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--policy", help="The policy (pol_...) this is the next version of; a new one otherwise.")
@click.option("--name", help="Name; default: the file's `name`, else the file's own.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign into this file for `kms documents cosign` instead of putting it.",
)
@with_target
def put(file: BinaryIO, policy: str | None, name: str | None, out: Path | None, target: Target) -> None:
    """Sign and put the policy in FILE (`-` for stdin).

    FILE holds {"name"?, "rules": [...], "budgets"?, "rate"?, "nonce_guard"?} or the list of rules alone. Without
    --policy it becomes a new policy; with it the next version, and no earlier one ever counts again.

    What a version takes away counts at each node on receipt. What it newly allows counts once enough holders of every
    key concerned have acknowledged it. A policy that promises more at once than its budgets let through is refused.

    Try it before: `kms policy test FILE CASES`, and `kms policy diff pol_... FILE` for what would change.
    """
    value = read_policy(file)
    limits = {name: value[name] for name in LIMITS if name in value}
    label = name or value.get("name") or Path(file.name).stem

    async def work() -> None:
        async with target.client(target.operator()) as client:
            roster = await client.roster()
            document = await client.policies.draft(label, value["rules"], roster=roster, policy=policy, limits=limits)
            if out is not None:
                write_output(out, client.documents.sign(document) + b"\n")
            else:
                await client.documents.sign_and_put(document)
        facts = {"policy": document.policy, "name": document.name, "version": document.version}
        if target.json:
            emit_json(facts)
        else:
            emit_facts(facts)

    run(work())
