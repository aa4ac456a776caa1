"""`kms backup list`."""

from __future__ import annotations

from typing import Any

import click

from kms.cli.backup.options import offline_options, place_option, sets_at, surroundings
from kms.cli.backup.report import coverage_json
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table


@click.command("list")
@place_option
@offline_options
@with_target
def list_(place: str, target: Target, **offline: Any) -> None:
    """List the sets with their slots and what they cover, verified as far as that takes no mnemonics."""
    around = run(surroundings(target, offline))
    sets = sets_at(target, place)
    found = [sets.read(name, around) for name in sets.names()]
    if target.json:
        emit_json(
            [
                {
                    "set": item.name,
                    "slots": sorted(item.bundles),
                    "troubles": {slot: error.code for slot, error in item.troubles.items()},
                    "keys": coverage_json(item.coverage),
                }
                for item in found
            ]
        )
        return
    emit_table(
        ("set", "slots", "damaged", "keys", "recoverable", "complete"),
        [
            (
                item.name,
                sorted(item.bundles),
                sorted(item.troubles) or "-",
                len(item.coverage),
                sum(entry.is_recoverable for entry in item.coverage.values()),
                sum(entry.is_complete for entry in item.coverage.values()),
            )
            for item in found
        ],
        empty="no set of this cluster",
    )
