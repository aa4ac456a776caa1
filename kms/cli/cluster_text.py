"""A cluster audit for the terminal and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from attestation.instant import format_instant
from enclave.diversity import Dimension, largest
from kms.cli.output import emit_facts, emit_table, printable, say
from kms.client.cluster_audit import ClusterAudit, KeyAudit, NodeAudit
from kms.client.collusion import collusion_table

HEADLINES = {"trusted": "TRUSTED", "untrusted": "NOT TRUSTED", "indeterminate": "CANNOT TELL"}


def show(audit: ClusterAudit) -> None:
    """Roster, nodes, common failure, keys, collusion, result."""
    emit_facts(roster_facts(audit))
    _heading("nodes")
    emit_table(
        ("slot", "result", "tee", "tcb", "operator", "provider", "region", "level", "valid until", "why"),
        [_node_row(node) for node in audit.nodes],
        empty="the roster has no slots",
    )
    for node in audit.nodes:
        if node.check.error is not None:
            say(f"{node.check.slot}: {printable(node.check.error.detail)} [{node.check.error.code}]")
    _heading("in common")
    emit_table(("dimension", "nodes", "value", "roster allows"), common_rows(audit), empty="no verified node")
    _heading("keys")
    if audit.keys is None:
        say("not listed: that takes an operator's or agent's key (--operator-key, --agent-key)")
    else:
        columns = ("key", "name", "spec", "custody", "shares", "quorum", "nodes", "certified by", "diversity")
        emit_table(columns, [key_row(key) for key in audit.keys], empty="no keys")
    if audit.keys_error is not None:
        say(f"keys: {printable(audit.keys_error.detail)} [{audit.keys_error.code}]")
    _heading("who must collude for what")
    emit_table(("to", "takes", "that is at least"), collusion_rows(audit), empty="")
    click.echo(f"\n{HEADLINES[audit.result.value]} as of {format_instant(audit.view.checked_at)}")


def as_json(audit: ClusterAudit) -> dict[str, Any]:
    """Everything, with the full verdict of every node."""
    return {
        "result": audit.result.value,
        "checked_at": audit.view.checked_at,
        "roster": roster_facts(audit),
        "nodes": [_node_json(node) for node in audit.nodes],
        "common": [
            {"dimension": dimension, "nodes": count, "value": value, "roster_allows": allowed}
            for dimension, count, value, allowed in common_rows(audit)
        ],
        "keys": None if audit.keys is None else [_key_json(key) for key in audit.keys],
        "keys_error": None if audit.keys_error is None else audit.keys_error.code,
        "collusion": [{"to": row.what, "takes": row.who, "at_least": row.at_least} for row in collusion_table(audit)],
    }


def roster_facts(audit: ClusterAudit) -> dict[str, str]:
    """Who says what this cluster is."""
    roster, snapshot = audit.view.roster, audit.view.snapshot
    signed = ", ".join(f"{entry.name} ({entry.operator})" for entry in audit.signed_by)
    return {
        "cluster": roster.cluster_id.hex(),
        "environment": str(roster.environment),
        "roster": f"version {roster.version} of {format_instant(roster.created_at)}",
        "signed by": f"{signed}; {roster.quorum_for('roster')} needed",
        "accepts common": ", ".join(sorted(roster.diversity.accept_common)) or "nothing",
        "in force": _in_force(audit),
        "registry": f"{snapshot.origin}, {snapshot.size} entries, restated {format_instant(snapshot.issued_at)}",
    }


def _in_force(audit: ClusterAudit) -> str:
    """By how many nodes' own evidence the newest roster is in force, and what the others show."""
    view = audit.view
    versions = Counter(view.version_at(slot) for slot in view.nodes)
    newest = versions.pop(view.roster.version, 0)
    others = [f"version {version} at {count}" for version, count in sorted(versions.items(), key=str) if version]
    return ", ".join([f"version {view.roster.version} at {newest} of {len(view.nodes)} nodes", *others])


def common_rows(audit: ClusterAudit) -> list[tuple[str, int, str, str]]:
    """Per dimension the value that most verified nodes share, how many do, and the roster's limit for a key."""
    rows = []
    terms = audit.view.roster.diversity
    for dimension in Dimension:
        value, count = largest(audit.view.facts, dimension)
        stated = terms.limits.get(dimension)
        if dimension is Dimension.PLATFORM:
            allowed = "1"
        elif stated is not None:
            allowed = str(stated)
        else:
            allowed = "any" if terms.most(dimension, 2) is None else "fewer than reveal a key"
        rows.append((str(dimension), count, value or "not stated", allowed))
    return rows


def key_row(key: KeyAudit) -> tuple[str, ...]:
    """One key, as text."""
    certificate = key.certified.certificate
    return (
        key.certified.key,
        certificate.name,
        str(certificate.spec),
        str(certificate.custody),
        str(certificate.shares_needed),
        str(certificate.signing_quorum),
        ", ".join(sorted(certificate.slots)),
        f"{len(key.certified.signers)} nodes",
        diversity_text(key),
    )


def diversity_text(key: KeyAudit) -> str:
    """Whether a key's nodes meet the terms, and what they have in common only because the roster accepts it."""
    if key.common is not None:
        return key.common.code
    return f"ok, with a common {' and '.join(key.accepted)} accepted" if key.accepted else "ok"


def collusion_rows(audit: ClusterAudit) -> list[tuple[str, str, str]]:
    """The collusion table, as text."""
    return [(row.what, row.who, row.at_least) for row in collusion_table(audit)]


def _node_row(node: NodeAudit) -> tuple[str, ...]:
    claims, standing, placement = node.verdict.claims, node.check.standing, node.placement
    return (
        node.check.slot,
        node.verdict.result.value,
        claims.tee.value if claims is not None else "-",
        claims.tcb_status.value if claims is not None and claims.tcb_status is not None else "-",
        standing.facts.operator if standing is not None else "-",
        (placement.provider or "not stated") if placement is not None else "-",
        (placement.region or "not stated") if placement is not None else "-",
        f"{placement.level} {placement.label}" if placement is not None else "-",
        format_instant(standing.valid_until) if standing is not None else "-",
        ", ".join(node.verdict.reasons),
    )


def _node_json(node: NodeAudit) -> dict[str, Any]:
    standing = node.check.standing
    return {
        "slot": node.check.slot,
        "verdict": node.verdict.to_json(),
        "identity_key": standing.identity.identity_key.hex() if standing is not None else None,
        "boot_counter": standing.identity.boot_counter if standing is not None else None,
        "valid_until": standing.valid_until if standing is not None else None,
        "placement": node.placement.to_json() if node.placement is not None else None,
        "error": node.check.error.code if node.check.error is not None else None,
    }


def _key_json(key: KeyAudit) -> dict[str, Any]:
    return key.certified.to_json() | {
        "diversity": "ok" if key.common is None else key.common.code,
        "accepted_common": list(key.accepted),
    }


def _heading(text: str) -> None:
    click.echo(f"\n{text}")
