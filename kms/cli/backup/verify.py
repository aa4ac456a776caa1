"""`kms backup verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kms.cli.backup.options import (
    custodian_files,
    mnemonics_option,
    offline_options,
    place_option,
    set_option,
    sets_at,
    surroundings,
)
from kms.cli.backup.report import coverage_json, show_coverage
from kms.cli.failure import REFUSED
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, printable, say
from kms.cli.progress import working


@click.command()
@place_option
@set_option
@mnemonics_option
@offline_options
@click.pass_context
@with_target
def verify(
    ctx: click.Context, place: str, set_name: str | None, files: tuple[Path, ...], target: Target, **offline: Any
) -> None:
    """Prove a set: form, signatures, evidence, and what it covers; with mnemonics every share in it.

    Without mnemonics nothing is opened.  With them this machine has the shares of those slots in its memory for a
    moment: use one that is offline, or a trial on a node (`kms-node restore --trial`).  Exit 1 if a bundle does not
    count, a mnemonic does not fit, or a key could not be restored.
    """
    from kms.client.backup.proving import Proof, prove

    around = run(surroundings(target, offline))
    sets = sets_at(target, place)
    found = sets.read(set_name or sets.newest(), around)
    people = custodian_files(target, files)
    with working("opening bundles"):
        proof = prove(found, people) if people else Proof()
    covered = proof.proven if people else found.coverage
    troubles = found.troubles | proof.troubles
    # A key of another bundle than those opened is not proven.
    unproven = sorted(name for name in found.coverage if name not in covered)
    done = not found.troubles and not unproven and all(item.is_recoverable for item in covered.values())
    done = done and all(error.code == "backup.mnemonics-too-few" for error in proof.troubles.values())
    if target.json:
        emit_json(
            {
                "set": found.name,
                "slots": sorted(found.bundles),
                "opened": proof.opened,
                "troubles": {slot: error.code for slot, error in troubles.items()},
                "keys": coverage_json(covered),
                "unproven": [f"{key}/{version}" for key, version in unproven],
                "done": done,
            }
        )
    else:
        emit_facts({"set": found.name, "bundles": sorted(found.bundles), "opened": proof.opened})
        click.echo()
        show_coverage(covered)
        for slot, error in troubles.items():
            say(f"{slot}: {printable(error.detail)} [{error.code}]" + (f"; {error.hint}" if error.hint else ""))
        say("this set restores every key it names" if done else "this set does NOT prove that it restores every key")
    if not done:
        ctx.exit(REFUSED)
