"""`kms operations`: list, show, cancel."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "list": ("kms.cli.operations.list:list_", "List operations: one's own, or those that wait for one."),
    "show": ("kms.cli.operations.show:show", "Show one operation; what waits is rendered here."),
    "cancel": ("kms.cli.operations.cancel:cancel", "Take a waiting request back."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def operations() -> None:
    """See what requests that were not answered at once came to."""
