"""`kms backup`: setup, export, list, verify, order, restore, contribute, finish, prune."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "setup": ("kms.cli.backup.setup:setup", "Make backup keys offline and split them among custodians."),
    "export": ("kms.cli.backup.export:export", "Fetch every node's bundle and keep them as a new set."),
    "list": ("kms.cli.backup.list:list_", "List the sets, and what the newest covers."),
    "verify": ("kms.cli.backup.verify:verify", "Prove bundles, and with mnemonics every share, restoring nothing."),
    "prune": ("kms.cli.backup.prune:prune", "Remove sets that the newest makes unnecessary."),
    "order": ("kms.cli.backup.order:order", "Sign which bundles are restored into a new incarnation."),
    "restore": ("kms.cli.backup.restore:restore", "Bring order, bundles and mnemonics to waiting nodes."),
    "contribute": ("kms.cli.backup.contribute:contribute", "As a custodian: seal your mnemonic to a verified node."),
    "finish": ("kms.cli.backup.finish:finish", "Give the gateway its documents back and refresh every key."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def backup() -> None:
    """Bundles that only custodians together can open, and the way back from them (specs/backup.md)."""
