"""`kms dev`: a whole cluster on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kms.cli.failure import UsageError
from kms.cli.options import DEVELOPER_DIRECTORY, run
from kms.cli.output import emit_json, say

if TYPE_CHECKING:
    from kms.dev.cluster import DevCluster


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEVELOPER_DIRECTORY,
    show_default=True,
    help="Where the cluster lives; keys survive restarts.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8750, show_default=True, help="The gateway's; 0 takes any."
)
@click.option("--nodes", type=click.IntRange(3, 16), default=5, show_default=True, help="For a new cluster.")
@click.option("--fresh", is_flag=True, help="Throw the cluster in --dir away first, keys included.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line when ready.")
def dev(directory: Path, port: int, nodes: int, fresh: bool, as_json: bool) -> None:
    """Run five attested nodes, their simulated machines, a demo registry and the gateway on loopback.

    The nodes run the production code; only the hardware vendor is simulated, so keep no real value here.
    """
    try:
        from kms.dev.cluster import DevCluster
    except ModuleNotFoundError as error:
        if error.name not in ("kms.dev", "attestation.simulated"):
            raise
        raise UsageError(
            "the developer cluster is not part of an installed package",
            hint="clone the repository and run `make setup`, then `.venv/bin/kms dev`",
        ) from None

    started = time.monotonic()
    cluster = DevCluster(directory, port=port, nodes=nodes, fresh=fresh, progress=_Progress(started))
    run(_serve(cluster, started, as_json=as_json))


async def _serve(cluster: DevCluster, started: float, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    starting = asyncio.current_task()
    assert starting is not None

    def end() -> None:
        if cluster_is_up:
            stop.set()
        else:
            starting.cancel()

    cluster_is_up = False
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        async with cluster:
            cluster_is_up = True
            if as_json:
                emit_json({"url": cluster.url, "cluster_file": str(cluster.cluster_file), "slots": cluster.slots})
                sys.stdout.flush()
            else:
                say(f"ready in {time.monotonic() - started:.1f} s")
                click.echo(_what_next(cluster))
            watching = asyncio.create_task(cluster.watch())
            await stop.wait()
            say("stopping; keys stay in " + str(cluster.layout.root))
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
    except asyncio.CancelledError:
        say("stopped before it was ready")
        raise SystemExit(1) from None


class _Progress:
    """One line per step on stderr, with the seconds since the start."""

    def __init__(self, started: float) -> None:
        self._started = started

    def __call__(self, text: str) -> None:
        say(f"{time.monotonic() - self._started:6.1f} s  {text}")


def _what_next(cluster: DevCluster) -> str:
    export = ""
    if cluster.layout.root != DEVELOPER_DIRECTORY.resolve():
        export = f"  export HOLDFAST_CLUSTER={cluster.cluster_file}\n"
    return f"""
Holdfast developer cluster at {cluster.url}
  nodes     {", ".join(cluster.slots)}
  cluster   {cluster.roster.cluster_id.hex()}
  files     {cluster.layout.root}

What next, in another terminal:
{export}  kms nodes attest
  kms keys create wallet --usage evm
  kms sign KEY --chain-id 1 --nonce 0 --to 0x000000000000000000000000000000000000dEaD --value 1000 \\
      --max-fee-per-gas 30000000000
  kms keys create vault --usage decrypt
  echo "my secret" | kms encrypt KEY | kms decrypt KEY
  kms audit verify

Ctrl-C stops it; the next start finds the same keys."""
