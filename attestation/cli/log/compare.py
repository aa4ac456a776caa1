"""`attest log compare`: do two signed heads tell one history?  If not, the proof against their author."""

from __future__ import annotations

from pathlib import Path

import click

from attestation.canonical import canonical_json
from attestation.cli.log.options import checked, identity_key, read_proof
from attestation.cli.options import HexBytes, read_file
from attestation.receipts import forks

_PATH = click.Path(path_type=Path, allow_dash=True)


@click.command("compare")
@click.argument("first", type=_PATH)
@click.argument("second", type=_PATH)
@click.option("--identity-key", "key", type=HexBytes(), required=True, help="Key of the boot that signed both, in hex.")
@click.option("--proof", "proof_path", type=_PATH, help="Consistency proof, as `GET /v1/log/proof?old=` answers.")
def compare(first: Path, second: Path, key: bytes, proof_path: Path | None) -> None:
    """Compare the heads in FIRST and SECOND: checkpoint notes, or heartbeats of the node as JSON.

    Exit code 0: one history; 1: a fork (the signed proof is printed), or something does not verify; 2: usage; 3: the
    heads differ in size and no proof connects them.
    """
    identity_key(key)
    proof = read_proof(proof_path) if proof_path is not None else None
    one, other = read_file(first), read_file(second)
    found = checked(lambda: forks.compare(one, other, key, proof))
    if found.is_fork:
        click.echo(canonical_json(forks.fork_to_json(found, key)))
        click.echo(
            f"error: {found.first.slot} signed two roots over {found.first.size} entries of boot"
            f" {found.first.boot_counter} [receipt.fork]",
            err=True,
        )
        raise SystemExit(1)
    if not found.is_proven:
        click.echo("hint: pass the consistency proof between the two sizes with --proof", err=True)
        raise SystemExit(3)
    click.echo(f"{found.first.size} entries of {found.first.slot} are the beginning of {found.second.size}", err=True)
