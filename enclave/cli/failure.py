"""How a failed command ends: what went wrong and what to do on standard error, and an exit code."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from attestation.errors import CodedError
from enclave.errors import CallerError, RefusedError, StorageError
from enclave.tee import TeeError

REFUSED, USAGE, UNAVAILABLE = 1, 2, 3


def end(error: CodedError) -> NoReturn:
    """Print the error and leave with its exit code."""
    click.echo(f"error: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    sys.exit(exit_code(error))


def exit_code(error: CodedError) -> int:
    """The exit code for an error."""
    if isinstance(error, StorageError | TeeError):
        return UNAVAILABLE
    if isinstance(error, CallerError) or error.code.startswith(("roster.", "envelope.", "document.")):
        return USAGE
    if isinstance(error, RefusedError):
        return REFUSED
    return UNAVAILABLE
