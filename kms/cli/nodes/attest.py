"""`kms nodes attest`: a verdict of our own for every node."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from kms.cli.failure import REFUSED
from kms.cli.nodes.diversity import diversity_rows, exposures
from kms.cli.nodes.tcb import tcb_text
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table, say
from kms.cli.progress import working

if TYPE_CHECKING:
    from kms.client.verification import ClusterView, NodeCheck


@click.command()
@click.pass_context
@with_target
def attest(ctx: click.Context, target: Target) -> None:
    """Verify every node's evidence from this machine, with fresh nonces; exit 1 unless all are trusted.

    Then shows what the verified nodes have in common, beside what the roster allows the nodes of a key to.
    """

    async def work() -> ClusterView:
        async with target.client() as client:
            with working("asking every node for fresh evidence"):
                return await client.look()

    view = run(work())
    rows = [_row(check) for check in view.nodes.values()]
    trusted = sum(row["result"] == "trusted" for row in rows)
    if target.json:
        emit_json({"nodes": rows, "diversity": diversity_rows(view), "trusted": trusted})
    else:
        emit_table(
            ("slot", "result", "tee", "tcb", "platform", "boots", "valid until", "why"),
            [
                (
                    row["slot"],
                    row["result"],
                    row.get("tee", "-"),
                    row.get("tcb", "-"),
                    _short(row.get("platform_id")),
                    row.get("boot_counter", "-"),
                    _date(row.get("valid_until")),
                    row.get("code", ""),
                )
                for row in rows
            ],
            empty="the roster has no slots",
        )
        if trusted:
            click.echo()
            emit_table(
                ("in common", "most", "which", "a key's nodes"),
                [(row["dimension"], row["most"], _short(row["value"]), row["rule"]) for row in diversity_rows(view)],
                empty="",
            )
            for sentence in exposures(view):
                say(sentence)
        for row in rows:
            if "detail" in row:
                say(f"{row['slot']}: {row['detail']} [{row['code']}]")
    if trusted < len(rows):
        ctx.exit(REFUSED)


def _row(check: NodeCheck) -> dict[str, Any]:
    if check.error is not None:
        return {
            "slot": check.slot,
            "result": "unavailable" if getattr(check.error, "unavailable", False) else "refused",
            "code": check.error.code,
            "detail": check.error.detail,
        }
    assert check.standing is not None
    standing, claims = check.standing, check.standing.claims
    return {
        "slot": check.slot,
        "result": "trusted",
        "tee": str(claims.tee),
        "root": claims.root,
        "tcb_status": str(claims.tcb_status) if claims.tcb_status else None,
        "tcb": tcb_text(claims),
        "platform_id": str(standing.platform_id),
        "operator": standing.facts.operator,
        "provider": standing.facts.provider,
        "region": standing.facts.region,
        "measurements": dict(claims.measurements),
        "boot_counter": standing.identity.boot_counter,
        "identity_key": standing.identity.identity_key.hex(),
        "evidence_id": claims.evidence_id,
        "valid_until": standing.valid_until,
    }


def _short(platform: Any) -> str:
    text = str(platform or "-")
    return text if len(text) <= 24 else text[:23] + "~"


def _date(when: int | None) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%MZ") if when else "-"
