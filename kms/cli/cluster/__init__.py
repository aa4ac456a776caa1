"""`kms cluster`: init, status, enrol, cold-start, roster."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "init": ("kms.cli.cluster.init:init", "Verify new machines and draft the first roster."),
    "status": ("kms.cli.cluster.status:status", "What is in force at every node, verified from here."),
    "enrol": ("kms.cli.cluster.enrol:enrol", "Admit a node that came back on another disk or with other code."),
    "cold-start": ("kms.cli.cluster.cold_start:cold_start", "Go on after all nodes were restarted at once."),
    "roster": ("kms.cli.cluster.roster:roster", "Show, change, sign and apply the roster."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def cluster() -> None:
    """Found a cluster and change what it consists of: machines, code, operators, rules."""
