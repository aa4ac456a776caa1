"""`kms policy`: template, test, evaluate, diff, put, show, budgets."""

from __future__ import annotations

import click

from kms.cli.lazy import LazyGroup

VERBS = {
    "template": ("kms.cli.policy.template:template", "List policy templates, or fill one in."),
    "test": ("kms.cli.policy.test:test", "Run a file of requests against a policy, offline."),
    "evaluate": ("kms.cli.policy.evaluate:evaluate", "Explain how a policy decides one request."),
    "diff": ("kms.cli.policy.diff:diff", "Show what changes between two policies."),
    "put": ("kms.cli.policy.put:put", "Sign and put a policy, or its next version."),
    "show": ("kms.cli.policy.show:show", "Show a policy as its operators signed it."),
    "budgets": ("kms.cli.policy.budgets:budgets", "Show how far a policy's budgets are used."),
}


@click.group(cls=LazyGroup, verbs=VERBS)
def policy() -> None:
    """Write, try, put and show the policies that say what agents may do."""
