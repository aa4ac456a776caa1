"""`kms rewrap`: seal a ciphertext to another key; its plaintext exists inside one named enclave only."""

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
@click.option("--to", required=True, metavar="KEY", help="The key to seal to (key_...).")
@click.option("--opened-in-enclave", "opener", required=True, metavar="SLOT", help="The node that opens it.")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: stdout.")
@click.option("--context", multiple=True, metavar="NAME=VALUE", help="As given when sealing; repeat.")
@click.option("--to-context", multiple=True, metavar="NAME=VALUE", help="For the new ciphertext; repeat.")
@with_target
def rewrap(
    key: str,
    file: BinaryIO,
    to: str,
    opener: str,
    out: Path | None,
    context: tuple[str, ...],
    to_context: tuple[str, ...],
    target: Target,
) -> None:
    """Open FILE (default stdin), sealed to KEY, inside the node SLOT, and seal it there to another key."""
    ciphertext = read_limited(file)

    async def work() -> None:
        async with target.client(target.agent()) as client:
            with working("verifying the nodes and rewrapping"):
                sealed = await client.decryption.rewrap(
                    key,
                    ciphertext,
                    to=to,
                    opened_in_enclave=opener,
                    context=parse_context(context),
                    to_context=parse_context(to_context),
                )
        if target.json:
            from attestation.envelope import b64url

            emit_json({"key": to, "ciphertext": b64url(sealed)})
        else:
            write_output(out, sealed)

    run(work())
