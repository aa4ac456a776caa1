"""`kms-node enrol`: show a machine to the operators who will put it into the first roster."""

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
    help="The configuration of kms-node serve; its roster need not exist yet.  [env: HOLDFAST_NODE_CONFIG]",
)
def enrol(path: Path) -> None:
    """Answer for this machine's evidence until SIGTERM, and do nothing else.

    `kms cluster init` asks it for fresh evidence, verifies it and drafts the first roster.  When the operators have
    signed that roster, stop this, set the machine's measured configuration to the cluster id, and start
    `kms-node serve`.
    """
    from enclave.config import NodeConfig
    from enclave.node import enrol as run

    try:
        asyncio.run(run(NodeConfig.load(path)))
    except CodedError as error:
        end(error)
    except OSError as error:
        click.echo(f"error: cannot listen: {error.strerror}", err=True)
        raise SystemExit(UNAVAILABLE) from None
