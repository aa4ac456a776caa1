"""Verdicts and facts as tables for people (standard output) and hints (standard error)."""

from __future__ import annotations

from collections.abc import Iterable

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from attestation.instant import format_instant
from attestation.verdict import Outcome, Result, Step, Verdict

WIDTH_PIPED = 140
"""Columns when standard output is not a terminal: wide enough that no measurement line breaks oddly."""

_STYLE = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.SKIPPED: "dim"}
_HEADLINE = {
    Result.TRUSTED: ("bold green", "TRUSTED"),
    Result.UNTRUSTED: ("bold red", "NOT TRUSTED"),
    Result.INDETERMINATE: ("bold yellow", "CANNOT TELL"),
}


def console() -> Console:
    """Standard output: colours and width of the terminal, plain and wide when piped."""
    out = Console(highlight=False, soft_wrap=False)
    return out if out.is_terminal else Console(highlight=False, width=WIDTH_PIPED)


def show_verdict(verdict: Verdict, out: Console) -> None:
    """Steps, claims and the result."""
    out.print(steps_table(verdict.steps))
    if verdict.claims is not None:
        out.print()
        out.print(facts_table(_claim_rows(verdict)))
    style, text = _HEADLINE[verdict.result]
    at = f" as of {format_instant(verdict.verified_at)}" if verdict.verified_at is not None else ""
    out.print(f"\n[{style}]{text}[/{style}]{at}")


def steps_table(steps: Iterable[Step]) -> Table:
    """Number, result, name and reason, one step per line."""
    table = Table("Step", "Result", "What", "Why", box=None, pad_edge=False, header_style="bold")
    for step in steps:
        style = _STYLE[step.result]
        why = f"{step.reason} [{step.code}]" if step.code else step.reason or ""
        table.add_row(step.step, f"[{style}]{step.result.value}[/{style}]", escape(step.name), escape(why))
    return table


def facts_table(rows: Iterable[tuple[str, str]]) -> Table:
    """Name and value, one per line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    return table


def hint(text: str) -> None:
    """A next step for the person at the terminal."""
    click.echo(f"hint: {text}", err=True)


def warn(text: str) -> None:
    """Something the person at the terminal must not overlook."""
    click.echo(f"warning: {text}", err=True)


def _claim_rows(verdict: Verdict) -> Iterable[tuple[str, str]]:
    claims = verdict.claims
    assert claims is not None
    yield "platform", claims.tee.value
    yield "root", claims.root
    yield "platform id", str(claims.platform_id) if claims.platform_id is not None else "none"
    if claims.tcb_status is not None:
        yield "TCB status", claims.tcb_status.value
    if claims.advisories:
        yield "advisories", ", ".join(claims.advisories)
    yield "evidence id", claims.evidence_id
    yield "report data", claims.report_data.hex()
    yield from claims.measurements.items()
    yield "flags", ", ".join(name for name, value in claims.flags.items() if value) or "none"
    yield "valid until", format_instant(claims.valid_until)
