"""Whose operations: the approver's, else the agent's or operator's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kms.cli.options import Target

if TYPE_CHECKING:
    from kms.client.credentials import Credentials

approver_option = click.option(
    "--approver-key",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="HOLDFAST_APPROVER_KEY",
    help="Ask as this approver.",
)


def someone(target: Target, approver_key: Path | None) -> Credentials:
    """The approver if one was named, else the agent if one was named, else the operator."""
    from kms.client import ApproverCredentials

    return target.anyone() if approver_key is None else ApproverCredentials.load(approver_key)
