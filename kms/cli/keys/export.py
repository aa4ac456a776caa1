"""`kms keys export`: an exportable key as an encrypted file, where the policy allows it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kms.cli.keys.sources import ask_password, confirm, read_password
from kms.cli.options import Target, run, with_target
from kms.cli.output import say
from kms.cli.progress import working


@click.command()
@click.argument("key")
@click.option("-o", "--out", required=True, metavar="FILE", help="New file, mode 0600; - for standard output.")
@click.option(
    "--format", "form", type=click.Choice(["keystore", "pem"]), default="keystore", show_default=True,
    help="Both are encrypted; pem has the weaker protection against guessing.",
)  # fmt: skip
@click.option(
    "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Asked for otherwise."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_target
def export(key: str, out: str, form: str, password_file: Path | None, yes: bool, target: Target) -> None:
    """Put KEY (key_...) together on this machine and write it to an encrypted file.

    The key must have been made with --exportable and its policy must have an `export` rule for who asks.  The nodes
    keep their shares; from then on the key is as safe as the file.
    """
    from kms.client.exported_file import encrypted, write_private

    if out != "-" and Path(out).exists():
        write_private(Path(out), b"")  # refuses, before anything is asked for
    if not yes:
        confirm(f"The private key of {key} will be in one place. Go on?")
    password = read_password(password_file, lambda: ask_password("password for the file", twice=True))

    async def work() -> None:
        try:
            async with target.client(target.anyone()) as client:
                with working("collecting the shares and checking the key"):
                    found = await client.keys.export(key)
            with found:
                data = encrypted(found, form, password)
        finally:
            password[:] = bytes(len(password))
        if out == "-":
            sys.stdout.buffer.write(data)
            return
        write_private(Path(out), data)
        say(f"wrote {out}")

    run(work())
