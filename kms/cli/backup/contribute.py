"""`kms backup contribute`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kms.cli.backup.options import custodian_files, offline_options, surroundings
from kms.cli.failure import UsageError
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, say
from kms.cli.progress import working

if TYPE_CHECKING:
    from enclave.roster_slots import SlotEntry
    from kms.client.backup.restoring import RestoreProcess


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--slot", "slots", multiple=True, help="Only for this slot; repeat.  All of the file without it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@offline_options
@with_target
def contribute(file: Path, slots: tuple[str, ...], yes: bool, target: Target, **offline: Any) -> None:
    """Seal the mnemonics in FILE to the processes that wait to restore their slots.

    Each is verified from here first: an admitted image on an admitted machine, in a registered cloud, under the roster
    chain you pass.  The words are readable only there.  A process that was started again needs them again.
    """
    from kms.client.backup.restoring import restore_process

    (person,) = custodian_files(target, (file,))
    held = [entry.slot for entry in person.entries]
    wanted = slots or tuple(held)
    if unknown := sorted(set(wanted) - set(held)):
        raise UsageError(f"{file} holds no mnemonic for {unknown[0]}")

    async def one(entry: SlotEntry, process: RestoreProcess) -> dict[str, Any]:
        if not target.json:
            emit_facts({"slot": entry.slot, "identity key": process.identity.identity_key.hex()})
        if not yes:
            click.confirm(f"Seal the mnemonic of {person.custodian} to it?", abort=True, err=True)
        standing = await process.contribute(person)
        return {"slot": entry.slot, "restored": standing.is_done, "missing": standing.missing,
                "custodians": standing.custodians}  # fmt: skip

    async def work() -> list[dict[str, Any]]:
        around = await surroundings(target, offline)
        told = []
        for entry in around.roster.slots:
            if entry.slot in wanted:
                with working(f"verifying {entry.slot}"):
                    context = restore_process(entry, around)
                    process = await context.__aenter__()
                try:
                    told.append(await one(entry, process))
                finally:
                    await context.__aexit__(None, None, None)
        return told

    told = run(work())
    if target.json:
        emit_json({"custodian": person.custodian, "nodes": told})
        return
    for item in told:
        say(f"{item['slot']}: " + ("restored" if item["restored"] else f"still missing: {item['missing']}"))
