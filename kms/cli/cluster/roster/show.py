"""`kms cluster roster show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kms.cli.failure import UsageError
from kms.cli.files import write_output
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json, emit_table

if TYPE_CHECKING:
    from enclave.roster_slots import SlotEntry


def _values(entry: SlotEntry, register: str) -> list[str]:
    return sorted(entry.measurements[register])


@click.command()
@click.option("--version", "number", type=click.IntRange(1), help="Another version than the newest.")
@click.option("--diff", type=click.IntRange(1), help="What changed since this version.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the signed chain into FILE.",
)
@click.option(
    "--with",
    "signed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --out: continue the chain by this signed version, which no node has yet.",
)
@with_target
def show(number: int | None, diff: int | None, out: Path | None, signed: Path | None, target: Target) -> None:
    """Print the newest roster, verified step by step from the pinned cluster id.

    --json prints the roster as it is signed.
    """

    added = signed.read_bytes() if signed is not None else None

    async def work() -> None:
        async with target.client() as client:
            rosters = {roster.version: roster for roster in await client.rosters.chain()}
            newest = max(rosters)
            if out is not None:
                from enclave.roster_chain import read_chain, write_chain

                envelopes = client.trust.followed.envelopes
                if added is not None:
                    later = read_chain(added, known=rosters[newest])
                    envelopes = [*envelopes, *(link.envelope for link in later)]
                write_output(out, write_chain(envelopes) + b"\n")
                return
            if (number or newest) not in rosters or (diff or newest) not in rosters:
                raise UsageError(f"the cluster's rosters are versions {min(rosters)} to {newest}")
            roster = rosters[number or newest]
        if diff is not None:
            from kms.cli.cluster.changes import changes_json, show_changes

            if target.json:
                emit_json(changes_json(rosters[diff], roster))
            else:
                show_changes(rosters[diff], roster)
            return
        if target.json:
            emit_json(roster.payload())
            return
        emit_facts(
            {
                "cluster": roster.cluster_id.hex(),
                "version": roster.version,
                "digest": roster.digest.hex(),
                "environment": str(roster.environment),
                "incarnation": roster.incarnation,
                "quorum": {name: str(value) for name, value in roster.quorum.items()},
                "upgrade delay": f"{roster.upgrade_delay} s",
                "witnesses": f"q={roster.witness_terms.q} f={roster.witness_terms.f} a={roster.witness_terms.a}",
                "accepts common": sorted(roster.diversity.accept_common),
                "registry": f"{roster.proof_of_cloud.threshold} of {len(roster.proof_of_cloud.members)} members",
                "oidc issuers": [issuer.issuer for issuer in roster.oidc],
                "approver groups": [group.group for group in roster.approvers],
            }
        )
        click.echo()
        emit_table(
            ("slot", "url", "operator", "platform", "code"),
            [
                (
                    entry.slot,
                    entry.url,
                    entry.operator,
                    entry.platform.hex()[:16],
                    " ".join(
                        f"{name}={value[:12]}"
                        for name, values in entry.measurements.items()
                        for value in sorted(values)
                    ),
                )
                for entry in roster.slots
            ],
            empty="",
        )
        click.echo()
        emit_table(
            ("operator", "name", "roles", "key id"),
            [(e.operator, e.name, " ".join(sorted(e.roles)), e.public.kid[:16]) for e in roster.operators],
            empty="",
        )

    run(work())
