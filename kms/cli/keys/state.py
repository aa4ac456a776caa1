"""`kms keys disable` and `kms keys enable`: a signed statement every node obeys."""

from __future__ import annotations

from pathlib import Path

import click

from kms.cli.files import write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say


@click.command()
@click.argument("key")
@with_target
def disable(key: str, target: Target) -> None:
    """Stop every use of KEY (key_...)."""
    run(_put(key, "disabled", target))


@click.command()
@click.argument("key")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign into this file for `kms documents cosign` instead of enabling.",
)
@with_target
def enable(key: str, out: Path | None, target: Target) -> None:
    """Allow use of KEY (key_...) again."""
    run(_put(key, "enabled", target, out))


async def _put(key: str, state: str, target: Target, out: Path | None = None) -> None:
    async with target.client(target.operator()) as client:
        document = client.keys.state(key, state)
        if out is not None:
            write_output(out, client.documents.sign(document) + b"\n")
            return
        answer = await client.documents.sign_and_put(document)
    if target.json:
        emit_json(answer)
    else:
        say(f"{key} is {state}")
