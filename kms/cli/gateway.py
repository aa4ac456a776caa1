"""`kms gateway`: run the HTTP front door."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def gateway() -> None:
    """Run the HTTP front door of a cluster.

    It is trusted for availability only: it holds no share, and what it says is proven by the nodes.
    """


@gateway.command()
@click.option(
    "--config",
    "path",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="HOLDFAST_GATEWAY_CONFIG",
    help="Configuration file (JSON): listen, data, roster, collateral, registry.",
)
def serve(path: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    from kms.config import GatewayConfig
    from kms.server import run

    run(GatewayConfig.load(path), on_listening=lambda url: click.echo(f"listening on {url}", err=True))
