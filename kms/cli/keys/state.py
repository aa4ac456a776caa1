"""`kms keys disable` and `kms keys enable`: a signed statement every node obeys."""

from __future__ import annotations

from typing import Any

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say


@click.command()
@click.argument("key")
@with_target
def disable(key: str, target: Target) -> None:
    """Stop every use of KEY (key_...)."""
    run(_put(key, "disabled", target))


@click.command()
@click.argument("key")
@with_target
def enable(key: str, target: Target) -> None:
    """Allow use of KEY (key_...) again."""
    run(_put(key, "enabled", target))


async def _put(key: str, state: str, target: Target) -> None:
    async with target.client(target.operator()) as client:
        answer: Any = await (client.keys.disable(key) if state == "disabled" else client.keys.enable(key))
    if target.json:
        emit_json(answer)
    else:
        say(f"{key} is {state}")
