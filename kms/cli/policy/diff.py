"""`kms policy diff`."""

from __future__ import annotations

import difflib
import json
from typing import Any

import click

from kms.cli.failure import REFUSED
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say
from kms.cli.policy.source import policy_members


@click.command()
@click.argument("old")
@click.argument("new")
@with_target
def diff(old: str, new: str, target: Target) -> None:
    """Show what changes from OLD to NEW (each a file, or pol_... of the newest version), rule by rule.

    Exit code 0 if they are the same, 1 if they differ.
    """

    async def work() -> tuple[dict[str, Any], dict[str, Any]]:
        return await policy_members(old, target), await policy_members(new, target)

    before, after = (_named(members) for members in run(work()))
    changes = {name: _change(before.get(name), after.get(name)) for name in sorted(before.keys() | after.keys())}
    differing = {name: change for name, change in changes.items() if change != "same"}
    order_changed = [name for name in before if name in after] != [name for name in after if name in before]
    if target.json:
        emit_json({"changes": differing, "order": "changed" if order_changed else "same"})
    else:
        for name, change in differing.items():
            click.echo(f"{change}: {name}")
            for line in _lines(before.get(name), after.get(name)):
                click.echo(f"    {line}")
        if order_changed:
            click.echo("order of rules changed")
    if differing or order_changed:
        raise SystemExit(REFUSED)
    say("no difference")


def _named(members: dict[str, Any]) -> dict[str, Any]:
    """`rule NAME` or `budget NAME` -> its members, and the other limits by name."""
    named = {f"rule {rule.get('name')}": rule for rule in members["rules"] if isinstance(rule, dict)}
    named |= {f"budget {item.get('name')}": item for item in members.get("budgets", ()) if isinstance(item, dict)}
    return named | {name: members[name] for name in ("rate", "nonce_guard") if name in members}


def _change(before: Any, after: Any) -> str:
    if before == after:
        return "same"
    return "added" if before is None else "removed" if after is None else "changed"


def _lines(before: Any, after: Any) -> list[str]:
    """Added and removed lines of one item's JSON."""

    def spelt(value: Any) -> list[str]:
        return [] if value is None else json.dumps(value, indent=1, sort_keys=True).splitlines()

    compared = difflib.unified_diff(spelt(before), spelt(after), lineterm="", n=1)
    return [line for line in compared if not line.startswith(("---", "+++", "@@"))]
