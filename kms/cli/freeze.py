"""`kms freeze` and `kms thaw`: straight to every node and through the gateway, done when nodes have signed for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kms.cli.failure import REFUSED, UsageError
from kms.cli.files import write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, emit_table, say

if TYPE_CHECKING:
    from kms.client.restrictions import Report

SCOPES = ("cluster", "agent", "key", "chain")

_SCOPE = click.Choice(SCOPES)


@click.command()
@click.argument("scope", type=_SCOPE, required=False)
@click.argument("what", required=False)
@with_target
def freeze(scope: str | None, what: str | None, target: Target) -> None:
    """Freeze SCOPE at every node; list what is frozen without SCOPE.

    WHAT is an agent (agt_...), a key (key_...) or a chain (evm:1, solana, bitcoin); scope cluster takes none.
    """
    if scope is None:
        run(_list(target))
    else:
        run(_put(scope, what, target, frozen=True, out=None))


@click.command()
@click.argument("scope", type=_SCOPE)
@click.argument("what", required=False)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign into this file for `kms documents cosign` instead of thawing.",
)
@with_target
def thaw(scope: str, what: str | None, out: Path | None, target: Target) -> None:
    """Let SCOPE (and WHAT, as in `kms freeze`) go again; takes the roster's quorum of operators."""
    run(_put(scope, what, target, frozen=False, out=out))


async def _put(scope: str, what: str | None, target: Target, *, frozen: bool, out: Path | None) -> None:
    from enclave.restrictions import Scope, is_target

    if not is_target(Scope(scope), what):
        raise UsageError(
            f"{what or 'nothing'} is not what scope {scope} names",
            hint="agent agt_..., key key_..., chain evm:1, solana or bitcoin; cluster takes none",
        )
    async with target.client(target.operator()) as client:
        document = client.restrictions.freeze(Scope(scope), what, frozen=frozen)
        envelope = client.restrictions.sign(document)
        if out is not None:
            write_output(out, envelope + b"\n")
            return
        report = await client.restrictions.deliver(envelope)
    show(report, f"{document.subject} is {document.state}", target)


def show(report: Report, words: str, target: Target) -> None:
    """Print a report; exits with 1 unless everything affected is covered."""
    if target.json:
        emit_json(report.to_json())
    else:
        emit_facts({"acknowledged": report.acknowledged, "not proven": report.unproven})
        waiting = [
            (key.key, key.name, f"{len(key.acknowledged)} of {key.needed}") for key in report.keys if not key.done
        ]
        if waiting:
            emit_table(("not yet", "name", "acknowledged"), waiting, empty="")
        say(words if report.done else "not done yet: the keys above may still be used; run it again")
    if not report.done:
        click.get_current_context().exit(REFUSED)


async def _list(target: Target) -> None:
    async with target.client(target.operator()) as client:
        freezes: list[dict[str, Any]] = await client.restrictions.list(roster=await client.roster())
    if target.json:
        emit_json({"freezes": freezes})
    else:
        rows = [(item["scope"], item["id"] or "", item["state"]) for item in freezes]
        emit_table(("scope", "id", "state"), rows, empty="nothing was ever frozen")
