"""`kms documents cosign`."""

from __future__ import annotations

from pathlib import Path

import click

from kms.cli.files import read_limited, write_output
from kms.cli.options import Target, with_target
from kms.cli.output import emit_json, say


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Sign without asking.")
@with_target
def cosign(file: Path, yes: bool, target: Target) -> None:
    """Show what FILE says (always JSON) and add your signature to it, in place."""
    with file.open("rb") as opened:
        envelope = read_limited(opened)
    client = target.client(target.operator())
    emit_json(client.documents.contents(envelope))
    if not yes:
        click.confirm("Sign this?", abort=True, err=True)
    write_output(file, client.documents.cosign(envelope) + b"\n")
    say(f"signed {file}")
