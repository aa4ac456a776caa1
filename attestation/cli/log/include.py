"""`attest log include`: one entry is in the log whose head its node signed."""

from __future__ import annotations

from pathlib import Path

import click

from attestation.canonical import canonical_json
from attestation.cli.log.options import checked, identity_key, read_proof
from attestation.cli.options import HexBytes, read_file
from attestation.merkle import leaf_hash, verify_inclusion
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.entry import parse_entry

_PATH = click.Path(path_type=Path, allow_dash=True)


@click.command("include")
@click.argument("entry", type=_PATH)
@click.option("--index", type=click.IntRange(0), required=True, help="Number of the leaf.")
@click.option("--proof", "proof_path", type=_PATH, required=True, help="As `GET /v1/log/proof?index=` answers.")
@click.option("--checkpoint", "note_path", type=_PATH, required=True, help="The signed note.")
@click.option("--identity-key", "key", type=HexBytes(), required=True, help="Key of the boot that signed, in hex.")
def include(entry: Path, index: int, proof_path: Path, note_path: Path, key: bytes) -> None:
    """Check that the leaf in ENTRY (its raw bytes) is number INDEX, and print what it says.

    Exit code 0: it is; 1: it is not; 2: usage.
    """
    identity_key(key)
    data, note, proof = read_file(entry), read_file(note_path), read_proof(proof_path)

    def work() -> dict[str, object]:
        head = LogCheckpoint.verified(note, key)
        verify_inclusion(leaf_hash(data), index, head.size, proof, head.root)
        return parse_entry(data).to_json()

    click.echo(canonical_json(checked(work)))
