"""`kms audit`: verify, tail, export."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "verify": ("kms.cli.audit.verify:verify", "Check that no entry was changed or left out."),
    "tail": ("kms.cli.audit.tail:tail", "Print the latest entries, and follow."),
    "export": ("kms.cli.audit.export:export", "Write the chain and every node's log to files."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def audit() -> None:
    """Follow, verify and export the audit chain and the nodes' logs."""
