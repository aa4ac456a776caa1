"""`kms receipts get`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kms.cli.files import write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, say
from kms.cli.progress import working

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("request")
@click.option("-o", "--out", type=_FILE, help="Where to keep the receipt. Default: REQUEST.receipt.json.")
@click.option("--message", type=click.File("rb"), help="What was signed, to check the nodes' commitments against.")
@with_target
def get(request: str, out: Path | None, message: Any, target: Target) -> None:
    """Fetch the receipt of REQUEST (the `request_id` of an answer), verify it, and write it to a file.

    `attest receipt FILE` verifies it again at any later time, with the cluster gone.
    """
    content = message.read() if message is not None else None

    async def work() -> None:
        async with target.client(target.anyone()) as client:
            with working("waiting until the nodes' peers have countersigned"):
                found = await client.receipts.get(request, message=content)
        path = out or Path(f"{request}.receipt.json")
        write_output(path, found.data)
        if target.json:
            emit_json({"file": str(path), **found.verdict.to_json()})
            return
        facts = found.verdict.facts
        emit_facts(
            {
                "outcome": facts["outcome"],
                "codes": facts["codes"],
                "decided": facts["decided_at"],
                "principal": facts["principal"],
                "resource": facts["resource"],
                "policy": f"{facts['policy']} version {facts['policy_version']}, rule {facts['rule']}",
                "nodes": [
                    f"{node['slot']} (boot {node['boot_counter']}, leaf {node['leaf']})" for node in facts["nodes"]
                ],
                "file": str(path),
            }
        )
        say(f"{len(found.verdict.steps)} steps hold; verify again with: attest receipt {path}")

    run(work())
