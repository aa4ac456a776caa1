"""`attest registry show`: what a registry says, or what it says about one platform."""

from __future__ import annotations

import click

from attestation.cli.registry.options import PlatformType, at, directory
from attestation.instant import format_instant
from attestation.proof_of_cloud.entries import Entry
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.registry import Registry


@click.command()
@directory
@click.option("--platform", type=PlatformType(), help="Only this platform.")
@at
def show(registry: Registry, platform: PlatformId | bytes | None, now: int) -> None:
    """List the lines in force and the proposal."""
    if platform is not None:
        standing = registry.standing(platform, now)
        listed = "listed" if standing.listed else "not listed"
        click.echo(f"{listed}, level {standing.level}, {standing.provider} {standing.region}".rstrip(", "))
        for item in standing.restrictions:
            click.echo(f"  {item.kind} {item.sequence} at {format_instant(item.issued_at)}: {item.reason}")
        return
    for number, line in enumerate(registry.lines):
        click.echo(_describe(str(number), Entry.parse(line)))
    for line in registry.proposed:
        click.echo(_describe("proposed", Entry.parse(line)))


def _describe(number: str, entry: Entry) -> str:
    what = entry.value.get("reason") or " ".join(
        str(entry.value[name]) for name in ("level", "method", "provider", "region") if entry.value.get(name)
    )
    return f"{number:>8}  {entry.kind:<13}  {entry.commitment[:16]:<16}  {format_instant(entry.issued_at)}  {what}"
