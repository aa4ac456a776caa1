"""`kms-node restore`: give a lost node its shares back, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from attestation.errors import CodedError
from enclave.cli.failure import UNAVAILABLE, end


@click.command()
@click.option(
    "--config",
    "path",
    required=True,
    envvar="HOLDFAST_NODE_CONFIG",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The configuration of kms-node serve; its data directory must be empty.  [env: HOLDFAST_NODE_CONFIG]",
)
@click.option("--trial", is_flag=True, help="Open and check everything, keep nothing: a drill in the attested image.")
def restore(path: Path, trial: bool) -> None:
    """Wait for a bundle and for enough custodians, seal the shares into a fresh store, and end.

    The roster of the configuration is the chain up to the version that begins the new incarnation.  Operators bring
    order and bundle (`kms backup restore`), custodians their mnemonics (`kms backup contribute`), each after
    verifying this process's evidence.  Then start `kms-node serve` with the same configuration.
    """
    from enclave.config import NodeConfig
    from enclave.node import restore as run

    try:
        asyncio.run(run(NodeConfig.load(path), is_trial=trial))
    except CodedError as error:
        end(error)
    except OSError as error:
        click.echo(f"error: cannot listen or write: {error.strerror}", err=True)
        raise SystemExit(UNAVAILABLE) from None
