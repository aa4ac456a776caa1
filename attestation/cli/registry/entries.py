"""`attest registry add`, `endorse`, `revoke`, `freeze`, `reinstate`: one line each."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from attestation.cli.registry.options import PlatformType, at, directory, report
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.statement import LEVEL_MAX, Method

DAY_S = 86_400

_platform = click.option("--platform", type=PlatformType(), required=True, help="Platform id or commitment.")
_reason = click.option("--reason", required=True, help="Why; published in the log.")
_days = click.option("--days", type=click.IntRange(1, 3660), default=180, show_default=True, help="How long it counts.")
_evidence = click.option(
    "--evidence",
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Archived material; only its SHA-256 is published.",
)


@click.command()
@directory
@_platform
@click.option("--provider", required=True)
@click.option("--region", default="")
@click.option("--facility", default="")
@click.option(
    "--method",
    type=click.Choice([method.value for method, level in LEVEL_MAX.items() if level == 1]),
    default=Method.PROVIDER_STATEMENT.value,
    show_default=True,
)
@click.option("--issuer", help="Who states it; default: the first member.")
@_evidence
@_days
@at
def add(
    registry: Registry,
    platform: PlatformId | bytes,
    provider: str,
    region: str,
    facility: str,
    method: str,
    issuer: str | None,
    files: tuple[Path, ...],
    days: int,
    now: int,
) -> None:
    """Propose listing a platform at level 1."""
    in_force = registry.add_platform(
        platform,
        provider=provider,
        region=region,
        facility=facility,
        method=Method(method),
        issuer=issuer,
        evidence=_digests(files),
        lifetime_s=days * DAY_S,
        now=now,
    )
    report(registry, in_force, "statement")


@click.command()
@directory
@_platform
@click.option("--issuer", required=True, help="The second party.")
@click.option("--method", type=click.Choice([Method.WITNESS.value, Method.PHYSICAL_AUDIT.value]), required=True)
@_evidence
@_days
@at
def endorse(
    registry: Registry,
    platform: PlatformId | bytes,
    issuer: str,
    method: str,
    files: tuple[Path, ...],
    days: int,
    now: int,
) -> None:
    """Propose raising a listed platform to level 2 (witness) or 3 (physical-audit)."""
    in_force = registry.endorse(
        platform, issuer=issuer, method=Method(method), evidence=_digests(files), lifetime_s=days * DAY_S, now=now
    )
    report(registry, in_force, "endorsement")


@click.command()
@directory
@_platform
@_reason
@at
def revoke(registry: Registry, platform: PlatformId | bytes, reason: str, now: int) -> None:
    """Revoke a platform: at once where the freshness key is, else as a proposal."""
    report(registry, registry.revoke(platform, reason, now), "revocation")


@click.command()
@directory
@click.option("--platform", type=PlatformType(), help="Only this platform; default: the whole registry.")
@_reason
@at
def freeze(registry: Registry, platform: PlatformId | bytes | None, reason: str, now: int) -> None:
    """Suspend the registry, or one platform, during an incident."""
    report(registry, registry.freeze(reason, now, platform=platform), "freeze")


@click.command()
@directory
@click.option("--platform", type=PlatformType(), help="This platform; default: the whole registry.")
@_reason
@at
def reinstate(registry: Registry, platform: PlatformId | bytes | None, reason: str, now: int) -> None:
    """Propose lifting every revocation and freeze now in force on a platform, or on the registry."""
    report(registry, registry.reinstate(reason, now, platform=platform), "reinstatement")


def _digests(files: tuple[Path, ...]) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
