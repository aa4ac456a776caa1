"""`attest registry verify`: check a snapshot or a proof, offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from attestation.cli.registry.options import PlatformType, at
from attestation.instant import format_instant
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.policy import MAX_AGE_S
from attestation.proof_of_cloud.proof import CONSISTENCY_HEADER, INCLUSION_HEADER, ConsistencyProof, InclusionProof
from attestation.proof_of_cloud.registry_files import RegistryConfig
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.proof_of_cloud.standing import Standing

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_file)
@click.option("--config", type=_file, required=True, help="registry.json: members, threshold, freshness key.")
@click.option("--previous", type=_file, help="A snapshot seen before: this one must extend it.")
@click.option("--max-age", type=click.IntRange(0), default=MAX_AGE_S, show_default=True, help="Seconds.")
@click.option("--platform", type=PlatformType(), help="Also say where this platform stands; exit 1 unless it is fine.")
@click.option("--full", is_flag=True, help="Parse every line, not only those asked for.")
@click.option("--json", "as_json", is_flag=True)
@at
def verify(
    file: Path,
    config: Path,
    previous: Path | None,
    max_age: int,
    platform: PlatformId | bytes | None,
    full: bool,
    as_json: bool,
    now: int,
) -> None:
    """Verify a snapshot or a proof FILE against the registry's keys."""
    keys = RegistryConfig.parse(config.read_bytes())
    data = file.read_bytes()
    for header, check in ((INCLUSION_HEADER, _inclusion), (CONSISTENCY_HEADER, _consistency)):
        if data.startswith(header.encode()):
            _print(check(data, keys), as_json=as_json)
            return
    snapshot = RegistrySnapshot.parse(data).verify(
        keys.members,
        keys.threshold,
        keys.freshness_key,
        now,
        max_age,
        origin=keys.origin,
        previous=RegistrySnapshot.parse(previous.read_bytes()) if previous else None,
    )
    facts: dict[str, Any] = {
        "registry": snapshot.origin,
        "lines": snapshot.size,
        "sequence": snapshot.sequence,
        "root": snapshot.root.hex(),
        "restated": format_instant(snapshot.issued_at),
        "members signed": sorted(snapshot.members_note.signers(keys.members)),
        "frozen": snapshot.frozen,
    }
    if full:
        facts["lines parsed"] = sum(1 for _ in snapshot.entries())
    fine = True
    if platform is not None:
        standing = snapshot.lookup(platform.commitment if isinstance(platform, PlatformId) else platform, now=now)
        facts |= _standing(standing)
        fine = standing.listed and not standing.revoked and not standing.frozen and not snapshot.frozen
    _print(facts, as_json=as_json)
    if not fine:
        raise click.exceptions.Exit(1)


def _inclusion(data: bytes, keys: RegistryConfig) -> dict[str, Any]:
    proof = InclusionProof.parse(data)
    entry, head = proof.verify(keys.freshness_key, origin=keys.origin)
    return {
        "registry": head.origin,
        "line": proof.index,
        "of": head.size,
        "restated": format_instant(head.time),
        "kind": str(entry.kind),
        "commitment": entry.commitment,
        "issuer": entry.issuer,
    }


def _consistency(data: bytes, keys: RegistryConfig) -> dict[str, Any]:
    proof = ConsistencyProof.parse(data)
    head = proof.verify(keys.freshness_key, origin=keys.origin)
    return {
        "registry": head.origin,
        "lines": head.size,
        "extends": proof.old_size,
        "old root": proof.old_root.hex(),
        "restated": format_instant(head.time),
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "listed": standing.listed,
        "revoked": standing.revoked,
        "platform frozen": standing.frozen,
        "level": standing.level,
        "provider": standing.provider,
        "region": standing.region,
        "reason": standing.reason,
    }


def _print(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        click.echo(f"{name:<15} {_text(value)}")


def _text(value: Any) -> str:
    match value:
        case True:
            return "yes"
        case False:
            return "no"
        case list():
            return ", ".join(value)
        case None | "":
            return "-"
    return str(value)
