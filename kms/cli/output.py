"""What goes to stdout: one JSON value with --json, else short aligned text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click


def emit_json(value: Any) -> None:
    """One indented JSON value."""
    click.echo(json.dumps(value, indent=2))


def emit_facts(facts: Mapping[str, Any]) -> None:
    """One `name  value` per line, names padded; absent and empty values are left out."""
    shown = {name.replace("_", " "): _text(value) for name, value in facts.items() if value not in (None, "", [], {})}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        click.echo(f"{name:<{width}}  {value}")


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Aligned columns with a heading; `empty` goes to stderr when there are no rows."""
    cells = [[_text(cell) for cell in row] for row in rows]
    if not cells:
        click.echo(empty, err=True)
        return
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    for line in [[column.upper() for column in columns], *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def say(text: str) -> None:
    """Talk: to stderr."""
    click.echo(text, err=True)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "  ".join(f"{name}={_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return printable(str(value))


def printable(text: str) -> str:
    """`text` without control characters: some of it is a gateway's word, and terminals obey escape sequences."""
    return "".join(character if character.isprintable() else "?" for character in text)
