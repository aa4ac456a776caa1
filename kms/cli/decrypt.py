"""`kms decrypt`: the nodes contribute sealed partial results, the plaintext appears here."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from kms.cli.files import parse_context, read_limited, write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json
from kms.cli.progress import working


@click.command()
@click.argument("key")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Mode 0600. Default: stdout.")
@click.option("--context", multiple=True, metavar="NAME=VALUE", help="As given when sealing; repeat.")
@click.option("--opened-in-enclave", "opener", metavar="SLOT", help="Have this node open it inside its enclave.")
@with_target
def decrypt(
    key: str, file: BinaryIO, out: Path | None, context: tuple[str, ...], opener: str | None, target: Target
) -> None:
    """Open FILE (default stdin), sealed to KEY, as an agent.

    The gateway never sees the plaintext, and no node does, unless one is named with --opened-in-enclave.
    """
    ciphertext = read_limited(file)

    async def work() -> None:
        async with target.client(target.agent()) as client:
            with working("verifying the nodes and decrypting"):
                names = parse_context(context)
                if opener is not None:
                    plaintext = await client.decryption.decrypt(
                        key, ciphertext, context=names, opened_in_enclave=opener
                    )
                else:
                    opened = await client.decryption.decrypt_checked(key, ciphertext, context=names)
                    plaintext = opened.plaintext
                    if opened.culprits:
                        click.echo(f"proven wrong on the way: {', '.join(opened.culprits)}", err=True)
        if target.json:
            from attestation.envelope import b64url

            emit_json({"key": key, "plaintext": b64url(plaintext)})
        else:
            write_output(out, plaintext, private=True)

    run(work())
