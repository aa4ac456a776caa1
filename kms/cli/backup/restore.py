"""`kms backup restore`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attestation.errors import CodedError
from kms.cli.backup.options import (
    custodian_files,
    mnemonics_option,
    offline_options,
    place_option,
    set_option,
    sets_at,
    surroundings,
)
from kms.cli.failure import REFUSED, UsageError
from kms.cli.files import read_limited, write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table, printable, say
from kms.cli.progress import working

if TYPE_CHECKING:
    from enclave.backup.bundle import Bundle
    from enclave.roster_slots import SlotEntry
    from enclave.wire.backup import RestoreStanding
    from kms.client.backup.custodians import CustodianFile
    from kms.client.backup.surroundings import Surroundings


@click.command()
@place_option
@set_option
@click.option("--order", "order_file", type=click.File("rb"), required=True, help="Signed by kms backup order.")
@click.option("--slot", "slots", multiple=True, help="Only this slot; repeat.  Every slot of the set without it.")
@click.option("--documents", type=click.Path(dir_okay=False, path_type=Path),
              help="Where to write the control documents that come back, for kms backup finish.")  # fmt: skip
@mnemonics_option
@offline_options
@click.pass_context
@with_target
def restore(
    ctx: click.Context,
    place: str,
    set_name: str | None,
    order_file: Any,
    slots: tuple[str, ...],
    documents: Path | None,
    files: tuple[Path, ...],
    target: Target,
    **offline: Any,
) -> None:
    """Bring order and bundle to every `kms-node restore` that waits, after verifying its evidence and cloud.

    Custodians bring their mnemonics with `kms backup contribute`, from wherever they are; --mnemonics brings those that
    are here.  Run it again when they have: it takes up where it was.  A process that is done ends, and
    `kms-node serve` may start.  Exit 1 unless every slot is done.
    """
    order = read_limited(order_file)
    around = run(surroundings(target, offline))
    sets = sets_at(target, place)
    found = sets.read(set_name or sets.newest(), around)
    people = custodian_files(target, files)
    wanted = [entry for entry in around.roster.slots if entry.slot in (slots or found.bundles)]
    if missing := [entry.slot for entry in wanted if entry.slot not in found.bundles]:
        error = found.troubles.get(missing[0])
        raise error if error is not None else UsageError(f"the set has no bundle of {missing[0]}")
    envelopes: dict[bytes, None] = {}

    async def one(entry: SlotEntry) -> RestoreStanding | CodedError:
        try:
            standing, given = await _restore(entry, around, order, found.bundles[entry.slot], people)
        except CodedError as error:
            return error
        envelopes.update(dict.fromkeys(given))
        return standing

    async def work() -> list[Any]:
        return await asyncio.gather(*(one(entry) for entry in wanted))

    with working("restoring"):
        answers = dict(zip((entry.slot for entry in wanted), run(work()), strict=True))
    if documents is not None and envelopes:
        value = {"documents": [json.loads(envelope) for envelope in envelopes]}
        write_output(documents, json.dumps(value, indent=1).encode() + b"\n", private=True)
    done = all(not isinstance(answer, CodedError) and answer.is_done for answer in answers.values())
    _tell(answers, target, done)
    if not done:
        ctx.exit(REFUSED)


async def _restore(
    entry: SlotEntry, around: Surroundings, order: bytes, bundle: Bundle, people: list[CustodianFile]
) -> tuple[RestoreStanding, list[bytes]]:
    """One slot: what is missing there is brought; if that completes it, the documents come back."""
    from kms.client.backup.restoring import restore_process

    async with restore_process(entry, around) as process:
        standing = await process.standing()
        if not standing.is_complete and not standing.is_done:
            standing = await process.begin(order, bundle)
        for file in people:
            holds = any(item.slot == entry.slot for item in file.entries)
            if holds and not standing.is_done and file.custodian not in standing.custodians:
                standing = await process.contribute(file)
        given = []
        if standing.is_done:
            given = await process.documents()
            await process.end()
        return standing, given


def _tell(answers: dict[str, Any], target: Target, done: bool) -> None:
    rows: list[dict[str, Any]] = []
    for slot, answer in answers.items():
        if isinstance(answer, CodedError):
            rows.append({"slot": slot, "result": answer.code, "keys": 0, "documents": 0, "custodians": [],
                         "missing": answer.detail, "refused": []})  # fmt: skip
        else:
            rows.append(
                {
                    "slot": slot,
                    "result": "restored" if answer.is_done else "waiting",
                    "keys": answer.keys,
                    "documents": answer.documents,
                    "custodians": answer.custodians,
                    "missing": answer.missing,
                    "refused": answer.refused,
                }
            )
    if target.json:
        emit_json({"nodes": rows, "done": done})
        return
    emit_table(
        ("slot", "result", "keys", "documents", "missing"),
        [(row["slot"], row["result"], row["keys"], row["documents"], printable(str(row["missing"]))) for row in rows],
        empty="no slot",
    )
    refused = sorted({name for row in rows for name in row["refused"]})
    if refused:
        say(f"signed by nobody who counts now, sign them again: {', '.join(map(printable, refused))}")
    say("start kms-node serve on each, then: kms backup finish" if done else "run it again when custodians have come")
