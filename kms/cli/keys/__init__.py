"""`kms keys`: create, list, show, disable, enable."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "create": ("kms.cli.keys.create:create", "Have the nodes generate a key."),
    "list": ("kms.cli.keys.list:list_", "List the keys."),
    "show": ("kms.cli.keys.show:show", "Show one key."),
    "disable": ("kms.cli.keys.state:disable", "Stop every use of a key."),
    "enable": ("kms.cli.keys.state:enable", "Allow use of a key again."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def keys() -> None:
    """Create, list, show, disable and enable keys."""
