"""`kms audit`: verify, tail."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "verify": ("kms.cli.audit.verify:verify", "Check that no entry was changed or left out."),
    "tail": ("kms.cli.audit.tail:tail", "Print the latest entries, and follow."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def audit() -> None:
    """Follow and verify the audit chain."""
