"""`attest registry sign` and `restate`: a member's signature, and the online key's."""

from __future__ import annotations

import json
from pathlib import Path

import click

from attestation.cli.registry.options import at, directory, report
from attestation.errors import StatementError
from attestation.proof_of_cloud.keys import load_key
from attestation.proof_of_cloud.registry import Registry


@click.command()
@directory
@click.option("--member", required=True)
@click.option("--key", "key_file", type=click.Path(exists=True, path_type=Path), required=True, help="The private key.")
@at
def sign(registry: Registry, member: str, key_file: Path, now: int) -> None:
    """Check the proposal and sign it as a member.

    What was signed is remembered beside the key, so the next proposal must extend it.
    """
    memory = key_file.with_suffix(".signed.json")
    head = registry.proposal_head()
    in_force = registry.sign(member, load_key(key_file), now, signed_before=_signed_before(memory))
    if head is not None:
        memory.write_text(json.dumps({"size": head.size, "root": head.root.hex()}))
    report(registry, in_force, "signature")


@click.command()
@directory
@click.option("--key", "key_file", type=click.Path(exists=True, path_type=Path), help="The freshness key.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the snapshot here.")
@at
def restate(registry: Registry, key_file: Path | None, out: Path | None, now: int) -> None:
    """Restate size, root and time with the freshness key; optionally write the snapshot."""
    registry.restate(now, load_key(key_file) if key_file else None)
    if out is not None:
        registry.write_snapshot(out)
    click.echo(f"restated: {registry.size} lines")


def _signed_before(memory: Path) -> tuple[int, bytes] | None:
    if not memory.exists():
        return None
    try:
        value = json.loads(memory.read_text())
        return int(value["size"]), bytes.fromhex(value["root"])
    except (ValueError, KeyError, TypeError):
        raise StatementError(f"{memory} does not say what was signed before") from None
