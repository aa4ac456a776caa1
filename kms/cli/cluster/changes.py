"""How the difference between two rosters is told: what counts at once, and what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kms.cli.output import emit_table

if TYPE_CHECKING:
    from enclave.roster import Roster


def changes_json(old: Roster, new: Roster) -> dict[str, Any]:
    """The difference for programs."""
    from enclave.roster_change import Effect, admits_code, changes

    found = changes(old, new)
    return {
        "version": new.version,
        "digest": new.digest.hex(),
        "restrictions": [change.to_json() for change in found if change.effect is Effect.RESTRICTION],
        "relaxations": [change.to_json() for change in found if change.effect is Effect.RELAXATION],
        "admits_code": admits_code(old, new),
        "delay_s": old.upgrade_delay if admits_code(old, new) else 0,
        "signatures_needed": {
            "before": old.quorum_for("roster"),
            "after": new.quorum_for("roster"),
        },
    }


def show_changes(old: Roster, new: Roster, *, err: bool = False) -> None:
    """The difference for people."""
    told = changes_json(old, new)

    def line(text: str) -> None:
        click.echo(text, err=err)

    line(f"roster version {old.version} -> {new.version}")
    for title, name in (
        ("RESTRICTIONS, in force at each node as soon as it has them", "restrictions"),
        ("RELAXATIONS, in force once enough nodes have acknowledged them", "relaxations"),
    ):
        if not told[name]:
            continue
        line("")
        line(title)
        if err:
            for change in told[name]:
                line(f"  {change['where']}  {change['detail']}")
        else:
            emit_table(("where", "what"), [(c["where"], c["detail"]) for c in told[name]], empty="")
    line("")
    if told["admits_code"]:
        line(f"new code is admitted: it waits {told['delay_s']} s after the nodes have taken the version")
    line(
        f"takes {told['signatures_needed']['before']} administrators of version {old.version}"
        f" and {told['signatures_needed']['after']} of version {new.version}"
    )
