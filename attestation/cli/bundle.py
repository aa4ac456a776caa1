"""`attest bundle`: the collateral of directories and files as one file."""

from __future__ import annotations

from pathlib import Path

import click

from attestation.collateral import Collateral
from attestation.errors import CollateralError


@click.command("bundle")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", "-o", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-")
@click.option("--newest", is_flag=True, help="Keep only the newest of each document: no verdicts as of earlier times.")
def command(paths: tuple[Path, ...], out: Path, newest: bool) -> None:
    """Write the collateral in PATHS as one file that `--collateral` takes.

    Nothing is verified: whoever uses the bundle does that.  The same set always gives the same
    bytes.  Exit code 0: written; 1: not collateral, or too large; 2: usage.
    """
    try:
        collateral = Collateral.load(paths)
        if newest:
            collateral = Collateral().merged(collateral)
        data = collateral.to_bundle()
    except CollateralError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None
    try:
        with click.open_file(str(out), "wb", atomic=str(out) != "-") as file:
            file.write(data)
    except OSError as error:
        raise click.UsageError(f"cannot write {out}: {error.strerror}") from None
    documents = len(collateral.tcb_infos) + len(collateral.identities) + len(collateral.crls)
    click.echo(
        f"{documents} documents and {len(collateral.certificates)} certificates, {len(data)} bytes,"
        f" set {collateral.digest.hex()[:16]}",
        err=True,
    )
