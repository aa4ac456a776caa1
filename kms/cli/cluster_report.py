"""A cluster audit as the contents of an HTML report."""

from __future__ import annotations

from attestation.report.contents import Place, Report, Subject, Table, Validity
from attestation.report.validity import validities
from enclave.roster import Environment
from kms.cli.cluster_text import collusion_rows, common_rows, key_row, roster_facts
from kms.client.cluster_audit import ClusterAudit, NodeAudit
from kms.client.verification import ClusterView


def report_of(audit: ClusterAudit, *, release: str | None = None) -> Report:
    """Every node as a subject, and the cluster's own tables."""
    roster = audit.view.roster
    warnings = []
    if roster.environment is Environment.DEVELOPMENT:
        warnings.append("A development cluster: simulated hardware may count, and no vendor vouches for it.")
    if audit.keys_error is not None:
        warnings.append(f"The list of keys is not complete: {audit.keys_error.detail} [{audit.keys_error.code}]")
    facts = [(name.capitalize(), value) for name, value in roster_facts(audit).items()]
    if release is not None:
        facts.append(("Release", release))
    return Report(
        title=f"Cluster {roster.cluster_id.hex()[:16]}",
        at=audit.view.checked_at,
        subjects=[_subject(node, audit.view) for node in audit.nodes],
        facts=facts,
        warnings=warnings,
        tables=_tables(audit),
        domains=True,
    )


def _subject(node: NodeAudit, view: ClusterView) -> Subject:
    placement, standing = node.placement, node.check.standing
    ends: list[Validity] = []
    if node.verdict.claims is not None and node.check.presentation is not None:
        ends += validities(node.check.presentation.evidence, node.verdict.claims, view.collateral, view.checked_at)
    facts: list[tuple[str, str]] = []
    if standing is not None:
        ends.append(Validity(name="this verdict", ends=standing.valid_until))
        facts = [
            ("Operator", standing.facts.operator),
            ("Identity key", standing.identity.identity_key.hex()),
            ("Boot", str(standing.identity.boot_counter)),
        ]
    if placement is not None:
        ends.append(Validity(name="proof of cloud", ends=placement.valid_until))
    return Subject(
        name=node.check.slot,
        verdict=node.verdict,
        place=Place(provider=placement.provider, region=placement.region, level=placement.level, label=placement.label)
        if placement is not None
        else None,
        validities=ends,
        facts=facts,
    )


def _tables(audit: ClusterAudit) -> list[Table]:
    tables = [
        Table(
            title="Who must collude for what",
            note="How many parties must break the rules together; fewer cannot.",
            columns=("To", "Takes", "That is at least"),
            rows=collusion_rows(audit),
        ),
        Table(
            title="What nodes have in common",
            note="The largest group of verified nodes that one failure may take, and what the roster allows one key.",
            columns=("Dimension", "Nodes", "Value", "Roster allows"),
            rows=[tuple(str(cell) for cell in row) for row in common_rows(audit)],
        ),
    ]
    if audit.keys:
        tables.append(
            Table(
                title="Keys",
                note="As certified by their nodes under the identity keys verified here.",
                columns=("Key", "Name", "Spec", "Custody", "Shares", "Quorum", "Nodes", "Certified by", "Diversity"),
                rows=[key_row(key) for key in audit.keys],
            )
        )
    return tables
