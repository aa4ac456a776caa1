"""`kms audit verify`."""

from __future__ import annotations

import click

from kms.cli.failure import UsageError
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json
from kms.cli.progress import working


@click.command()
@click.option("--since", metavar="SEQUENCE:HASH", help="A head printed earlier: proves that history before it stands.")
@with_target
def verify(since: str | None, target: Target) -> None:
    """Check the chain from its start, or from a head you kept, and print the new head."""
    from kms.client.audit import AuditHead

    start = None
    if since is not None:
        sequence, _, text = since.partition(":")
        try:
            start = AuditHead(sequence=int(sequence), hash=bytes.fromhex(text))
        except ValueError:
            raise UsageError("expected SEQUENCE:HASH as `kms audit verify` prints it") from None

    async def work() -> None:
        async with target.client(target.operator()) as client:
            with working("reading the chain"):
                head = await client.audit.verify(since=start)
        facts = {"entries": head.sequence, "head": f"{head.sequence}:{head.hash.hex()}"}
        if target.json:
            emit_json(facts)
        else:
            emit_facts(facts)

    run(work())
