"""`attest registry serve`: the registry over HTTP, read-only (C2SP tlog-tiles)."""

from __future__ import annotations

import click

from attestation.cli.registry.options import directory
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.server import RegistryServer


@click.command()
@directory
@click.option("--listen", default="127.0.0.1:8760", show_default=True, metavar="HOST:PORT")
def serve(registry: Registry, listen: str) -> None:
    """Serve checkpoint, tiles, entries and snapshot until interrupted."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise click.UsageError(f"expected HOST:PORT, found {listen[:60]}")
    registry.published()
    with RegistryServer(registry, host, int(port)) as server:
        click.echo(f"serving {registry.config.origin} at {server.url}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped")
