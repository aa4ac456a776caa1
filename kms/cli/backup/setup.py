"""`kms backup setup`."""

from __future__ import annotations

from pathlib import Path

import click

from kms.cli.cluster.roster.propose import read_object
from kms.cli.options import Target, with_target
from kms.cli.output import emit_json, say


@click.command()
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory of the files.")
@click.option("--rosters", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Roster or chain; without it that of the cluster file.")  # fmt: skip
@click.option("--accept-common-custodians", "accept_common", is_flag=True,
              help="Let somebody stand for several slots. The roster and `attest cluster` show it.")  # fmt: skip
@with_target
def setup(plan: Path, out: Path, rosters: Path | None, accept_common: bool, target: Target) -> None:
    """Make each slot's backup key and split it among the custodians of PLAN.  Needs no network: do it offline.

    PLAN is JSON; SLIP-39 groups, usually one:

    \b
      {"sets": [{"set": "vault-1", "slots": ["node-1"],
                 "groups": [{"threshold": 3, "members": ["ann", "ben", "cat", "dan", "eve"]}]}, ...]}

    With more groups, "group_threshold" says how many of them it takes.  Writes one file per custodian, mode 0600,
    never over another, and roster-backup.json for `kms cluster roster propose --edit`.  Whoever sees enough of
    these files while they are together has the keys: hand them out, and wipe the machine.
    """
    from kms.client.backup.custodians import make, read_plan
    from kms.client.backup.surroundings import from_files

    trust = target.file().trust
    roster = from_files(trust, rosters=rosters, collateral=(), registry=None).roster
    plans = read_plan(read_object(plan), [entry.slot for entry in roster.slots], accept_common=accept_common)
    paths, patch = make(plans, cluster=trust.cluster_id, accept_common=accept_common, directory=out)
    if target.json:
        emit_json({"files": [str(path) for path in paths], "backup": patch["backup"]})
        return
    for path in paths:
        click.echo(path)
    uncovered = sorted({entry.slot for entry in roster.slots} - {slot for item in plans for slot in item.slots})
    if uncovered:
        say(f"without a backup: {', '.join(uncovered)}")
    say(f"next: kms cluster roster propose --edit {paths[-1]} --out next.json, then sign and apply it")
