"""How failures look: `error: what [code]` and `hint: next step` on stderr, and an exit code that means something."""

from __future__ import annotations

from typing import Any

import click

from attestation.errors import CodedError
from kms.cli.lazy import LazyGroup

REFUSED = 1
"""The cluster, the policy or a check said no."""
USAGE = 2
"""The command line or its configuration is wrong."""
UNAVAILABLE = 3
"""Nobody could answer; trying again later may help."""


_USAGE_CODES = ("client.", "configuration", "id.malformed", "name.malformed")
"""Codes of errors about what the person typed or configured, whichever layer found them."""


class UsageError(CodedError):
    """The command cannot run as given: a missing file, key or setting."""

    code = "usage"


class FailureGroup(LazyGroup):
    """The outermost group: turns typed errors into the output and exit codes stated above."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; typed errors end here."""
        try:
            return super().invoke(ctx)
        except CodedError as error:
            show(error)
            ctx.exit(exit_code(error))


def show(error: CodedError) -> None:
    """Print an error for people on stderr."""
    click.echo(f"error: {error.detail} [{error.code}]", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def exit_code(error: CodedError) -> int:
    """The exit code an error deserves."""
    if isinstance(error, UsageError) or error.code.startswith(_USAGE_CODES):
        return USAGE
    return UNAVAILABLE if getattr(error, "unavailable", False) else REFUSED
