"""`kms nodes`: list, attest, repair."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "list": ("kms.cli.nodes.list:list_", "List the nodes and what they think of each other."),
    "attest": ("kms.cli.nodes.attest:attest", "Verify every node's evidence from this machine."),
    "repair": ("kms.cli.nodes.repair:repair", "Give a node its shares back."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def nodes() -> None:
    """List the nodes and verify their evidence from here."""
