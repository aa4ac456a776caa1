"""`kms backup export`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from attestation.errors import CodedError
from kms.cli.backup.options import offline_options, place_option, sets_at, surroundings
from kms.cli.backup.report import coverage_json, show_coverage
from kms.cli.failure import REFUSED, UsageError
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, printable, say
from kms.cli.progress import working


@click.command()
@place_option
@click.option("--prune", "prunes", is_flag=True, help="Afterwards remove sets that this one makes unnecessary.")
@offline_options
@click.pass_context
@with_target
def export(ctx: click.Context, place: str, prunes: bool, target: Target, **offline: Any) -> None:
    """Fetch the bundle of every slot that has a backup key, straight from the nodes, and keep them as a new set.

    Each node seals to the key the roster names and to nothing else; its evidence over that very bundle is judged here
    and kept with it.  Do this after every ceremony: a set restores the shares it holds, and no others.  Exit 1 unless
    every slot's bundle was kept and every key is covered completely.
    """
    from kms.client.backup.fetching import fetch

    async def work() -> tuple[Any, dict[str, Any], dict[str, CodedError]]:
        around = await surroundings(target, offline)
        terms = around.roster.backup
        if terms is None:
            raise UsageError("the roster names no backup keys", hint="kms backup setup")
        entries = [entry for entry in around.roster.slots if entry.slot in terms.slots]
        with working("fetching bundles"):
            answers = await asyncio.gather(*(fetch(entry, around) for entry in entries), return_exceptions=True)
        bundles, troubles = {}, {}
        for entry, answer in zip(entries, answers, strict=True):
            if isinstance(answer, CodedError):
                troubles[entry.slot] = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                bundles[entry.slot] = answer
        return around, bundles, troubles

    around, bundles, troubles = run(work())
    if not bundles:
        raise next(iter(troubles.values()))
    sets = sets_at(target, place)
    name = sets.write(bundles, around)
    kept = sets.read(name, around)
    gone = sets.prune(around) if prunes else []
    troubles |= kept.troubles
    covered = kept.coverage
    done = not troubles and all(item.is_complete for item in covered.values())
    if target.json:
        emit_json(
            {
                "set": name,
                "slots": sorted(kept.bundles),
                "troubles": {slot: error.code for slot, error in troubles.items()},
                "keys": coverage_json(covered),
                "removed": gone,
                "done": done,
            }
        )
    else:
        click.echo(name)
        show_coverage(covered)
        for slot, error in troubles.items():
            say(f"{slot}: {printable(error.detail)} [{error.code}]")
        if gone:
            say(f"removed {', '.join(gone)}")
        if not done:
            say("not every share is in this set; export again when all nodes are up and no ceremony runs")
    if not done:
        ctx.exit(REFUSED)
