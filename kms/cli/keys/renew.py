"""`kms keys refresh`, `kms keys reshare` and `kms keys rotate`: orders that operators sign and nodes carry out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kms.cli.failure import UsageError
from kms.cli.files import write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say
from kms.cli.progress import counting, working

if TYPE_CHECKING:
    from kms.client.ceremonies import Ceremonies, Renewed

_OUT = click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign into this file for other operators (`kms documents cosign`, `kms keys order`) instead of ordering.",
)


@click.command()
@click.argument("keys", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every key.")
@with_target
def refresh(keys: tuple[str, ...], everything: bool, target: Target) -> None:
    """Give the holders of KEYS (key_...) new shares; what was stolen before is worthless with what is stolen after.

    The public keys stay.  Signing goes on meanwhile.
    """
    if everything == bool(keys):
        raise UsageError("which keys?", hint="name them, or pass --all")

    async def work() -> None:
        async with target.client(target.operator()) as client:
            with counting("keys refreshed") as progress:
                made = (
                    await client.ceremonies.refresh_all(progress=progress)
                    if everything
                    else await client.ceremonies.refresh(*keys, progress=progress)
                )
        emit_renewed(made, target)

    run(work())


@click.command()
@click.argument("keys", nargs=-1, required=True)
@click.option(
    "--node", "nodes", multiple=True, required=True, metavar="SLOT", help="A node that holds a share; repeat."
)
@click.option("--shares-needed", type=click.IntRange(2, 16), required=True, help="The new T.")
@click.option("--assembler", "assemblers", multiple=True, metavar="SLOT", help="For custody reconstruct; repeat.")
@_OUT
@with_target
def reshare(
    keys: tuple[str, ...],
    nodes: tuple[str, ...],
    shares_needed: int,
    assemblers: tuple[str, ...],
    out: Path | None,
    target: Target,
) -> None:
    """Move KEYS (key_...) to other nodes, or change how many of them are needed.  The public keys stay."""
    terms: dict[str, Any] = {"nodes": nodes, "shares_needed": shares_needed, "assemblers": assemblers}
    run(_order("reshare", keys, terms, out, target))


@click.command()
@click.argument("key")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_OUT
@with_target
def rotate(key: str, yes: bool, out: Path | None, target: Target) -> None:
    """Make a new version of KEY (key_...): ANOTHER public key and address.

    The version before still decrypts and verifies, and signs for requests that name it.
    """
    if not yes:
        click.confirm("The key gets a new public key and new addresses. Go on?", abort=True, err=True)
    run(_order("rotate", (key,), {}, out, target))


@click.command()
@click.argument("file", type=click.File("rb"))
@with_target
def order(file: Any, target: Target) -> None:
    """Hand in FILE, an order that enough operators have signed."""
    from kms.cli.files import read_limited

    envelope = read_limited(file)

    async def work() -> None:
        async with target.client(target.operator()) as client:
            with working("the nodes carry the order out"):
                made = await client.ceremonies.send(envelope)
        emit_renewed(made, target)

    run(work())


async def _order(action: str, keys: tuple[str, ...], terms: dict[str, Any], out: Path | None, target: Target) -> None:
    from enclave.ceremonies.facts import Kind

    async with target.client(target.operator()) as client:
        refs = [await client.ceremonies.ref(key) for key in keys]
        await finish(client.ceremonies, lambda: client.ceremonies.order(Kind(action), refs, **terms), out, target)


async def finish(ceremonies: Ceremonies, make: Callable[[], Any], out: Path | None, target: Target) -> None:
    """Sign an order and hand it in, or leave it for others to sign."""
    envelope = ceremonies.sign(make())
    if out is not None:
        write_output(out, envelope + b"\n")
        return
    with working("the nodes carry the order out"):
        made = await ceremonies.send(envelope)
    emit_renewed(made, target)


def emit_renewed(made: Renewed, target: Target) -> None:
    """What came of it; a failure of some keys is one of the command."""
    if target.json:
        emit_json(made.to_json())
    else:
        for item in made.keys if len(made.keys) <= 20 else ():
            click.echo(f"{item['key']}/{item['version']}  epoch {item['epoch']}")
        say(f"{len(made.keys)} keys done" + (f", {len(made.failed)} stayed as they were" if made.failed else ""))
        for key, code in list(made.failed.items())[:20]:
            say(f"  {key}: {code}")
    if made.failed:
        raise SystemExit(1)
