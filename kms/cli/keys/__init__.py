"""`kms keys`: create, import, list, show, derive, export, disable, enable."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "create": ("kms.cli.keys.create:create", "Have the nodes generate a key."),
    "import": ("kms.cli.keys.import_:import_", "Split an existing key among the nodes."),
    "list": ("kms.cli.keys.list:list_", "List the keys."),
    "show": ("kms.cli.keys.show:show", "Show one key."),
    "derive": ("kms.cli.keys.derive:derive", "Show a child key and its address."),
    "export": ("kms.cli.keys.export:export", "Write an exportable key to an encrypted file."),
    "refresh": ("kms.cli.keys.renew:refresh", "Give the holders new shares; the key stays."),
    "reshare": ("kms.cli.keys.renew:reshare", "Move keys to other nodes; the keys stay."),
    "rotate": ("kms.cli.keys.renew:rotate", "Make a new version of a key: another public key."),
    "order": ("kms.cli.keys.renew:order", "Hand in an order that several operators signed."),
    "disable": ("kms.cli.keys.state:disable", "Stop every use of a key."),
    "enable": ("kms.cli.keys.state:enable", "Allow use of a key again."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def keys() -> None:
    """Create, list, show, derive, disable and enable keys."""
