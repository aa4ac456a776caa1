"""`kms approvers`: create, list, revoke."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "create": ("kms.cli.approvers.create:create", "Register an approver; makes its key file unless there is one."),
    "list": ("kms.cli.approvers.list:list_", "List the approvers."),
    "revoke": ("kms.cli.approvers.revoke:revoke", "Revoke an approver for good."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def approvers() -> None:
    """Register and revoke the people that policies ask."""
