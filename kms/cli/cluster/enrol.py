"""`kms cluster enrol`."""

from __future__ import annotations

from typing import Any

import click

from kms.cli.failure import REFUSED, UsageError
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, say
from kms.cli.progress import working


@click.command()
@click.argument("slot")
@click.option("--yes", is_flag=True, help="Enrol without asking.")
@click.pass_context
@with_target
def enrol(ctx: click.Context, slot: str, yes: bool, target: Target) -> None:
    """Admit the node that answers for SLOT now, after its evidence was verified from here.

    A node that restarts on its own disk with unchanged code is admitted by its peers without anybody.  This is for
    the others: a disk replaced, a machine repaired, code upgraded.  It names one identity of one boot, and admits
    nothing that the roster does not admit to the slot.  Exit 1 unless every peer took it.
    """

    async def work() -> dict[str, Any]:
        async with target.client(target.operator()) as client:
            with working(f"verifying {slot}"):
                view = await client.look()
            check = view.nodes.get(slot)
            if check is None:
                raise UsageError(f"the roster has no slot {slot}")
            if check.standing is None:
                assert check.error is not None
                raise check.error
            standing = check.standing
            facts = {
                "slot": slot,
                "platform": str(standing.platform_id),
                "identity_key": standing.identity.identity_key.hex(),
                "boot_counter": standing.identity.boot_counter,
                "measurements": {
                    name: standing.claims.measurements[name] for name in view.roster.slot(slot).measurements
                },
            }
            if not target.json:
                emit_facts(facts)
            if not yes:
                click.confirm("Enrol this?", abort=True, err=True)
            document = client.enrolments.document(standing.identity)
            report = await client.restrictions.deliver(client.restrictions.sign(document))
            return facts | {"acknowledged": list(report.acknowledged), "unproven": report.unproven}

    answer = run(work())
    missing = {name: code for name, code in answer["unproven"].items() if name != slot}
    if target.json:
        emit_json(answer)
    else:
        emit_facts({"acknowledged": answer["acknowledged"], "not proven": answer["unproven"]})
        say(
            f"{slot} is enrolled"
            if not missing
            else "not every peer has proven that it took the enrolment; run it again"
        )
    if missing:
        ctx.exit(REFUSED)
