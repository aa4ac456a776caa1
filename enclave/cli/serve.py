"""`kms-node serve`: run a node until it is told to stop."""

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
    help="Configuration file, see below.  [env: HOLDFAST_NODE_CONFIG]",
)
def serve(path: Path) -> None:
    """Start the node described by FILE and serve gateways until SIGTERM.

    The configuration is one JSON object; paths are relative to it:

    \b
      {
        "slot": "node-1",                  place of this node in the roster
        "data": "data",                    directory of the sealed store (created)
        "roster": "roster.json",           signed roster of the cluster
        "listen": "127.0.0.1:8801",        host:port for gateways, TLS 1.3
        "tee": {"kind": "simulated", "socket": "node-1.tee.sock"},
        "log_level": "info",               debug, info, warning or error
        "boots_after": 0                   on a new disk: the last boot counter of the slot before
      }

    The log goes to standard error, one JSON object per line; it never holds bodies, tokens or
    secrets.  The line with event "listening" says that the node is up.
    """
    from enclave.config import NodeConfig
    from enclave.node import serve as run

    try:
        config = NodeConfig.load(path)
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(run(config))
    except CodedError as error:
        end(error)
    except OSError as error:
        click.echo(f"error: cannot listen or write: {error.strerror}", err=True)
        raise SystemExit(UNAVAILABLE) from None


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()
