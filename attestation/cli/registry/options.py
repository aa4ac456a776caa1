"""Option types and small outputs the registry verbs share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from attestation.errors import AttestationError
from attestation.instant import parse_instant
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.statement import is_digest


class PlatformType(click.ParamType[PlatformId | bytes]):
    """A platform id in text form, or its commitment as 64 hex digits."""

    name = "platform"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> PlatformId | bytes:
        """The id, or the 32 bytes of the commitment."""
        if is_digest(value):
            return bytes.fromhex(value)
        try:
            return PlatformId.parse(value)
        except AttestationError as error:
            self.fail(f"{error.detail}; a commitment has 64 hex digits", param, ctx)


class InstantType(click.ParamType[int]):
    """A time: Unix seconds or RFC 3339."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Unix seconds."""
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 11:
            return int(value)
        seconds = parse_instant(value)
        if seconds is None:
            self.fail("expected Unix seconds or a time like 2026-11-22T12:00:00Z", param, ctx)
        return seconds


class RegistryType(click.ParamType[Registry]):
    """A registry directory."""

    name = "directory"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Registry:
        """The registry, opened."""
        del param, ctx
        return Registry.open(Path(value))


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

directory: Decorator = click.argument("registry", type=RegistryType(), metavar="DIRECTORY")
"""The registry to work on."""

at: Decorator = click.option(
    "--at",
    "now",
    type=InstantType(),
    default=lambda: str(int(time.time())),
    help="Act as of this time.",
    show_default="now",
)
"""The time to act at."""


def report(registry: Registry, in_force: bool, what: str) -> None:
    """Say whether a change is in force, and what is missing if not."""
    if in_force:
        click.echo(f"{what}: in force, {registry.size} lines")
        return
    have = sorted(registry.proposal_signers)
    click.echo(f"{what}: proposed, {len(have)} of {registry.config.threshold} signatures ({', '.join(have) or 'none'})")
