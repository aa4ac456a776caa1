"""`kms audit tail`."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import printable

if TYPE_CHECKING:
    from kms.audit import Entry

DIGEST_DIGITS = 64
"""Length of a SHA-256 in hex."""

FOLLOW_PAUSE_S = 1.0
"""Pause between two looks when following, in seconds."""


@click.command()
@click.option("-n", "--lines", type=click.IntRange(1, 500), default=20, show_default=True, help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing new entries.")
@with_target
def tail(lines: int, follow: bool, target: Target) -> None:
    """Print the latest audit entries (with --json one object per line); every link is checked on the way."""

    async def work() -> None:
        async with target.client(target.operator()) as client:
            from kms.client.audit import AuditHead

            latest: list[Entry] = []
            head = None
            async for entry in client.audit.entries():
                latest = [*latest[-(lines - 1) :], entry] if lines > 1 else [entry]
                head = AuditHead(sequence=entry.sequence, hash=entry.hash)
            for entry in latest:
                _print(entry, as_json=target.json)
            while follow:
                await asyncio.sleep(FOLLOW_PAUSE_S)
                async for entry in client.audit.entries(since=head):
                    _print(entry, as_json=target.json)
                    head = AuditHead(sequence=entry.sequence, hash=entry.hash)

    run(work())


def _print(entry: Entry, *, as_json: bool) -> None:
    value = entry.to_json()
    if as_json:
        click.echo(json.dumps(value))
        return
    facts = dict(value["entry"])
    when = facts.pop("time", None) or facts.pop("at", None)
    moment = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if isinstance(when, int) else "-"
    first = [str(facts.pop(name)) for name in ("kind", "act", "status") if name in facts]
    rest = [f"{name}={_short(item)}" for name, item in facts.items() if item not in (None, "", [], {})]
    click.echo(printable(f"{entry.sequence:>6}  {moment}  {' '.join(first):<28}  {' '.join(rest)}"))


def _short(item: Any) -> str:
    """Digests by their first digits; --json has them whole."""
    if isinstance(item, list):
        return ",".join(str(part) for part in item)
    text = str(item)
    return text[:12] + "~" if len(text) == DIGEST_DIGITS and set(text) <= set("0123456789abcdef") else text
