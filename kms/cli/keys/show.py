"""`kms keys show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_facts, emit_json
from kms.cli.progress import working

if TYPE_CHECKING:
    from kms.client.certified import CertifiedKey


@click.command()
@click.argument("key")
@with_target
def show(key: str, target: Target) -> None:
    """Show KEY (key_...) as its attested nodes certified it."""

    async def work() -> None:
        async with target.client(target.anyone()) as client:
            with working("verifying the nodes"):
                found = await client.keys.get(key)
        emit_key(found, as_json=target.json)

    run(work())


def emit_key(key: CertifiedKey, *, as_json: bool) -> None:
    """Print a key."""
    value = key.to_json()
    if as_json:
        emit_json(value)
        return
    emit_facts(
        {
            "key": value["key"],
            "name": value["name"],
            "spec": f"{value['spec']}, usage {value['usage']}, custody {value['custody']}",
            "state": value["state"],
            "public_key": value["public_key"],
            **{f"{chain}_address": address for chain, address in value["addresses"].items()},
            "policy": value["policy"],
            "shares_needed": f"{value['shares_needed']} of {len(value['nodes'])} ({', '.join(value['nodes'])})",
            "quorum": f"{value['signing_quorum']} nodes for each use",
            "privacy": _privacy(value),
            "certified_by": ", ".join(value["certified_by"])
            + ("" if value["attested"] else " (evidence not verified)"),
            "labels": value["labels"],
        }
    )


def _privacy(value: dict[str, Any]) -> str:
    if value["privacy_threshold"] > 1:
        return f"{value['privacy_threshold']} nodes must collude or break to learn the key"
    return f"each assembler sees the key while it signs: {', '.join(value['assemblers'])}"
