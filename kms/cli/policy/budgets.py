"""`kms policy budgets`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table


@click.command()
@click.argument("policy")
@with_target
def budgets(policy: str, target: Target) -> None:
    """Show limits, what nodes have counted, and the most one use may take, for the budgets of POLICY (pol_...)."""

    async def work() -> None:
        async with target.client(target.anyone()) as client:
            answer = await client.policies.budgets(policy)
        if target.json:
            emit_json(answer)
            return
        emit_table(
            ("budget", "per", "limit", "node", "subject", "spent", "reserved", "resets at"),
            [row for budget in answer["budgets"] for row in _rows(budget)],
            empty="the policy has no budgets",
        )
        emit_table(
            ("budget", "key", "max single"),
            [
                (budget["name"], item["key"], item["max_single"])
                for budget in answer["budgets"]
                for item in budget["keys"]
            ],
            empty="no node holds a key of this policy",
        )

    run(work())


def _rows(budget: dict[str, Any]) -> list[tuple[Any, ...]]:
    head = (budget["name"], f"{budget['per']} and {budget['window']}", budget["limit"])
    resets = budget["resets_at"]
    when = "" if resets is None else datetime.fromtimestamp(resets, UTC).strftime("%Y-%m-%d %H:%M UTC")
    counted = [
        (*head, item["slot"], item["subject"], item["spent"], item["reserved"], when) for item in budget["nodes"]
    ]
    return counted or [(*head, "", "", "0", "0", when)]
