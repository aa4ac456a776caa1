"""`kms encrypt`: seal to a certified key, without sending anything secret anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from kms.cli.files import parse_context, read_limited, write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json


@click.command()
@click.argument("key")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: stdout.")
@click.option("--context", multiple=True, metavar="NAME=VALUE", help="Must be given again to decrypt; repeat.")
@click.option("--described", is_flag=True, help="Name key and version in front; other HPKE tools need it cut off.")
@with_target
def encrypt(
    key: str, file: BinaryIO, out: Path | None, context: tuple[str, ...], described: bool, target: Target
) -> None:
    """Seal FILE (default stdin) to KEY on this machine, with stock HPKE (RFC 9180)."""
    plaintext = read_limited(file)
    names = parse_context(context)

    async def work() -> None:
        async with target.client(target.anyone()) as client:
            make = client.decryption.seal if described else client.decryption.encrypt
            ciphertext = await make(key, plaintext, context=names)
        if target.json:
            from attestation.envelope import b64url

            emit_json({"key": key, "ciphertext": b64url(ciphertext), "context": names})
        else:
            write_output(out, ciphertext)

    run(work())
