"""`kms secrets`: put, list, show, release."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "put": ("kms.cli.secrets.put:put", "Seal a secret on this machine and store it."),
    "list": ("kms.cli.secrets.show:list_", "List the secrets."),
    "show": ("kms.cli.secrets.show:show", "Show one secret's certificate."),
    "release": ("kms.cli.secrets.release:release", "Get a secret, inside an attested workload."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def secrets() -> None:
    """Secrets that only attested workloads get."""
