"""`kms documents`: cosign, put.  For what needs more than one operator: policies and enabling keys in production."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "cosign": ("kms.cli.documents.cosign:cosign", "Read a document and add your signature."),
    "put": ("kms.cli.documents.put:put", "Hand in a document with all its signatures."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def documents() -> None:
    """Collect operators' signatures under one document.

    \b
    kms policy put policy.json --out signed.json     the first operator
    kms documents cosign signed.json                 each further operator
    kms documents put signed.json                    anyone of them
    """
