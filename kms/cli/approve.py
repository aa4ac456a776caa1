"""`kms approve` and `kms reject`: read the request as rendered on this machine, then sign or do not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kms.cli.failure import UsageError
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say

_KEY = click.option(
    "--approver-key",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="HOLDFAST_APPROVER_KEY",
    required=True,
    help="Approver's key file.",
)
_YES = click.option("--yes", is_flag=True, help="Do not ask; the summary is printed all the same.")


@click.command()
@click.argument("operation")
@_KEY
@_YES
@with_target
def approve(operation: str, approver_key: Path, yes: bool, target: Target) -> None:
    """Approve OPERATION (op_...) after reading what it is.

    The summary is rendered here from the request's exact bytes, and the signature covers it: whatever a gateway
    tells wrongly makes an approval that no node counts.
    """
    run(_decide("approve", operation, approver_key, yes, target))


@click.command()
@click.argument("operation")
@_KEY
@_YES
@with_target
def reject(operation: str, approver_key: Path, yes: bool, target: Target) -> None:
    """Reject OPERATION (op_...): one rejection ends it for good."""
    run(_decide("reject", operation, approver_key, yes, target))


async def _decide(decision: str, operation: str, key: Path, yes: bool, target: Target) -> None:
    from enclave.ids import check_id
    from kms.client import ApproverCredentials

    check_id(operation, "op")
    if not yes and not sys.stdin.isatty():
        raise UsageError("there is nobody to ask", hint="read `kms operations show`, then pass --yes")

    def confirm(summary: str) -> bool:
        say(summary)
        return yes or click.confirm(f"{decision} this?", default=False, err=True)

    async with target.client(ApproverCredentials.load(key)) as client:
        verb = client.operations.approve if decision == "approve" else client.operations.reject
        answer: dict[str, Any] = await verb(operation, confirm)
    if target.json:
        emit_json(answer)
    else:
        approval = answer.get("approval", {})
        given, needed = len(approval.get("approvals", [])), approval.get("minimum")
        say(f"{operation} is {answer['state']}, {given} of {needed} approvals")
