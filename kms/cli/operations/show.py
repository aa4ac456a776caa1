"""`kms operations show`."""

from __future__ import annotations

from pathlib import Path

import click

from kms.cli.operations.credentials import approver_option, someone
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, say

FACTS = ("operation", "kind", "state", "principal", "resource", "created_at", "updated_at", "expires_at", "status")


@click.command()
@click.argument("operation")
@click.option("--wait", type=click.IntRange(0, 3600), default=0, help="Wait so many seconds for its end.")
@approver_option
@with_target
def show(operation: str, wait: int, approver_key: Path | None, target: Target) -> None:
    """Show OPERATION (op_...); a request that waits is rendered on this machine from its exact bytes."""

    async def work() -> None:
        from kms.client import PendingError
        from kms.client.operations import read_waiting

        async with target.client(someone(target, approver_key)) as client:
            found = await client.operations.get(operation)
            if wait and found["state"] in ("waiting", "running"):
                try:
                    found = await client.operations.wait(operation, timeout_s=wait)
                except PendingError:
                    found = await client.operations.get(operation)
            cluster = client.trust.cluster_id
        if target.json:
            emit_json(found)
            return
        facts = {name: found.get(name) for name in FACTS}
        problem = found.get("problem")
        if isinstance(problem, dict):
            facts |= {"problem": problem.get("code"), "detail": problem.get("detail")}
        if "approval" in found:
            seen = read_waiting(found, operation=operation, cluster=cluster)
            facts |= {"group": seen.group, "minimum": seen.minimum, "approved_by": list(seen.approved_by)}
            say(seen.summary)
        emit_facts(facts)

    run(work())
