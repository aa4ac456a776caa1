"""`kms audit export`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kms.cli.files import write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say
from kms.cli.progress import working


@click.command()
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory to write to.")
@with_target
def export(into: Path, target: Target) -> None:
    """Write the verified audit chain (audit.jsonl) and the newest log of every node (log-SLOT-BOOT.jsonl).

    `attest log verify FILE` checks a node's log again.
    """

    into.mkdir(parents=True, exist_ok=True)

    async def work() -> None:
        from attestation.receipts.exported import verify_exported

        written = []
        async with target.client(target.operator()) as client:
            with working("reading the chain and the nodes' logs"):
                lines = [json.dumps(entry.to_json()).encode() + b"\n" async for entry in client.audit.entries()]
                write_output(into / "audit.jsonl", b"".join(lines))
                written.append({"file": "audit.jsonl", "entries": len(lines)})
                view = await client.look()
                for slot, node in view.nodes.items():
                    data = b"".join([line async for line in client.receipts.log(slot)])
                    attested = node.presentation.identity.identity_key if node.standing and node.presentation else None
                    found = verify_exported(data, identity_key=attested)
                    name = f"log-{slot}-{found.head.boot_counter}.jsonl"
                    write_output(into / name, data)
                    written.append({"file": name, "entries": found.head.size})
        if target.json:
            emit_json({"directory": str(into), "files": written})
        for item in written:
            say(f"{item['file']}: {item['entries']} entries")

    run(work())
