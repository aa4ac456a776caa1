"""`kms backup prune`."""

from __future__ import annotations

from typing import Any

import click

from kms.cli.backup.options import offline_options, place_option, sets_at, surroundings
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say


@click.command()
@place_option
@offline_options
@with_target
def prune(place: str, target: Target, **offline: Any) -> None:
    """Remove older sets, each only if the newest has every slot's bundle verified and every key of it completely.

    Old shares stay dangerous as long as they exist: a refresh is finished when the sets of earlier epochs are gone.
    """
    around = run(surroundings(target, offline))
    gone = sets_at(target, place).prune(around)
    if target.json:
        emit_json({"removed": gone})
    else:
        say(f"removed {', '.join(gone)}" if gone else "every set is still needed")
