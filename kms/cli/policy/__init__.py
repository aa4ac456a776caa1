"""`kms policy`: put, show, budgets."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "put": ("kms.cli.policy.put:put", "Sign and put a policy, or its next version."),
    "show": ("kms.cli.policy.show:show", "Show a policy as its operators signed it."),
    "budgets": ("kms.cli.policy.budgets:budgets", "Show how far a policy's budgets are used."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def policy() -> None:
    """Put and show the policies that say what agents may do."""
