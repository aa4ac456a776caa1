"""`attest log verify`: every leaf of an exported log leads to the head its node signed."""

from __future__ import annotations

from pathlib import Path

import click

from attestation.canonical import canonical_json
from attestation.cli import render
from attestation.cli.log.options import checked, identity_key
from attestation.cli.options import HexBytes, read_file
from attestation.instant import format_instant
from attestation.receipts.exported import verify_exported


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--identity-key", "key", type=HexBytes(), help="The key that evidence binds to this boot, in hex.")
@click.option("--cluster", type=HexBytes(), help="Id of the cluster you know, in hex.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def verify(file: Path, key: bytes | None, cluster: bytes | None, as_json: bool) -> None:
    """Check the exported log in FILE (`kms audit export` writes it).

    Exit code 0: whole and signed; 1: not; 2: usage.
    """
    identity_key(key)
    data = read_file(file)
    found = checked(lambda: verify_exported(data, identity_key=key))
    if cluster is not None and found.head.cluster != cluster:
        click.echo("error: the log is of another cluster [receipt.cluster]", err=True)
        raise SystemExit(1)
    facts = {
        "slot": found.head.slot,
        "boot_counter": found.head.boot_counter,
        "cluster": found.head.cluster.hex(),
        "identity_key": found.boot.identity_key.hex(),
        "started_at": format_instant(found.boot.started_at),
        "size": found.head.size,
        "root": found.head.root.hex(),
        "unsigned": found.unsigned,
        "pruned": found.pruned,
        "previous_boot": found.boot.previous_boot,
        "previous_size": found.boot.previous_size,
        "previous_root": found.boot.previous_root.hex(),
        "outcomes": dict(sorted(found.outcomes.items())),
    }
    if as_json:
        click.echo(canonical_json(facts))
    else:
        rows = [(name, str(value)) for name, value in facts.items() if name != "outcomes"]
        rows += [(name, str(count)) for name, count in sorted(found.outcomes.items())]
        render.console().print(render.facts_table(rows))
    if key is None:
        render.hint("the log names its key itself: compare it with the evidence of that boot, or pass --identity-key")
