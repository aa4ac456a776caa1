"""`attest registry prove`: an inclusion proof for one line, or a consistency proof since an earlier size."""

from __future__ import annotations

from pathlib import Path

import click

from attestation.cli.registry.options import PlatformType, directory
from attestation.errors import StatementError
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.proof import ConsistencyProof, InclusionProof
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.snapshot import RegistrySnapshot


@click.command()
@directory
@click.option("--platform", type=PlatformType(), help="Prove the statement in force about this platform.")
@click.option("--line", "number", type=click.IntRange(0), help="Prove this line.")
@click.option("--since", type=click.IntRange(1), help="Prove that the log of this size is a prefix.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the proof here instead of printing it.")
def prove(
    registry: Registry, platform: PlatformId | bytes | None, number: int | None, since: int | None, out: Path | None
) -> None:
    """Export a proof that verifies offline."""
    if [platform, number, since].count(None) != 2:
        raise click.UsageError("expected exactly one of --platform, --line and --since")
    snapshot = registry.published()
    if since is not None:
        data = ConsistencyProof.of(snapshot, since).encode()
    else:
        if platform is not None:
            number = _statement_line(snapshot, platform)
        assert number is not None, "one of the two was given"
        data = InclusionProof.of(snapshot, number).encode()
    if out is None:
        click.echo(data.decode(), nl=False)
    else:
        out.write_bytes(data)
        click.echo(f"wrote {out.name}")


def _statement_line(snapshot: RegistrySnapshot, platform: PlatformId | bytes) -> int:
    commitment = platform.commitment if isinstance(platform, PlatformId) else platform
    statement = snapshot.lookup(commitment).statement
    if statement is None or statement.sequence is None:
        raise StatementError("no statement about this platform is in force", code="proof-of-cloud.not-listed")
    return statement.sequence
