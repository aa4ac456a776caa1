"""`kms receipts`: get."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {"get": ("kms.cli.receipts.get:get", "Fetch, verify and keep the receipt of one request.")}


@click.group(cls=LazyGroup, verbs=VERBS)
def receipts() -> None:
    """Fetch and verify what proves a decision of the nodes."""
