"""`attest cluster`: a whole running cluster, verified from here.  Registered with `attest` as an entry point."""

from __future__ import annotations

import json
from pathlib import Path

import click

from attestation.cli.options import current_time, read_release
from attestation.errors import AttestationError, CodedError
from attestation.release.manifest import ReleaseCheck
from attestation.report.page import render_page
from attestation.verdict import Result
from attestation.verifier import StatementCheck
from kms.cli.cluster_report import report_of
from kms.cli.cluster_text import as_json, show
from kms.cli.failure import exit_code
from kms.cli.failure import show as show_error
from kms.cli.options import run
from kms.client import Client, OperatorCredentials
from kms.client.cluster_audit import ClusterAudit, audit_cluster
from kms.client.cluster_file import ClusterFile
from kms.client.credentials import AgentCredentials, Credentials
from kms.client.trust import TrustAnchors

EXIT_CODES = {Result.TRUSTED: 0, Result.UNTRUSTED: 1, Result.INDETERMINATE: 3}
_FILE = click.Path(dir_okay=False, path_type=Path)
_RELEASE = click.Path(path_type=Path, allow_dash=True)


@click.command("cluster")
@click.argument("url", required=False)
@click.option("--cluster", "cluster_path", type=_FILE, envvar="HOLDFAST_CLUSTER", help="The cluster file.")
@click.option("--cluster-id", help="The pinned cluster id (64 hex digits), where there is no cluster file.")
@click.option("--operator-key", type=_FILE, envvar="HOLDFAST_OPERATOR_KEY", help="Operator's key file, to list keys.")
@click.option("--agent-key", type=_FILE, envvar="HOLDFAST_AGENT_KEY", help="Agent's key file, to list keys.")
@click.option("--release", "release_path", type=_RELEASE, help="Release manifest: every node must run an image of it.")
@click.option("--release-key", "release_keys", multiple=True, type=_RELEASE, help="A maker's key; may be repeated.")
@click.option("--release-threshold", type=click.IntRange(1), help="Makers needed; default: all whose key is given.")
@click.option("--html", "html", type=_FILE, help="Also write everything as one HTML page.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def command(
    url: str | None,
    cluster_path: Path | None,
    cluster_id: str | None,
    operator_key: Path | None,
    agent_key: Path | None,
    release_path: Path | None,
    release_keys: tuple[Path, ...],
    release_threshold: int | None,
    html: Path | None,
    json_wanted: bool,
) -> None:
    """Verify the cluster behind the gateway at URL: every node under a fresh nonce, from this machine.

    Shows who signed the roster, each node's verdict and place, what nodes have in common, the key
    certificates, and who would have to collude for what.  Exit code 0: everything holds; 1: something
    does not; 2: usage; 3: some nodes could not be asked.
    """
    release = read_release(release_path, release_keys, release_threshold, current_time())
    if isinstance(release, AttestationError):
        raise click.UsageError(f"--release: {release}")
    checks: list[StatementCheck] = [] if release is None else [ReleaseCheck(manifest=release)]
    try:
        target, trust, credentials = _target(url, cluster_path, cluster_id, operator_key, agent_key)
        audit = run(_look(target, trust, credentials, checks))
    except CodedError as error:
        show_error(error)
        raise SystemExit(exit_code(error)) from None
    if json_wanted:
        click.echo(json.dumps(as_json(audit), indent=2))
    else:
        show(audit)
    if html is not None:
        _write(html, audit, release.title if release is not None else None)
    raise SystemExit(EXIT_CODES[audit.result])


def _target(
    url: str | None, cluster: Path | None, cluster_id: str | None, operator_key: Path | None, agent_key: Path | None
) -> tuple[str, TrustAnchors, Credentials | None]:
    """Where to ask, what to pin, and in whose name keys are listed, if in anybody's."""
    file = None if cluster is None or cluster_id is not None else ClusterFile.load(cluster)
    if file is None and cluster_id is None:
        raise click.UsageError("pin the cluster: --cluster FILE, or --cluster-id HEX with URL")
    trust = file.trust if file is not None else TrustAnchors.pinned(cluster_id or "")
    address = url or (file.url if file is not None else None)
    if address is None:
        raise click.UsageError("--cluster-id needs the gateway's URL")
    return address, trust, _credentials(file, operator_key, agent_key)


def _credentials(file: ClusterFile | None, operator_key: Path | None, agent_key: Path | None) -> Credentials | None:
    if agent_key is not None:
        return AgentCredentials.load(agent_key)
    if operator_key is not None:
        return OperatorCredentials.load(operator_key)
    if file is not None and file.operator_key is not None and file.operator_key.exists():
        return OperatorCredentials.load(file.operator_key, issuer=file.operator)
    return None


async def _look(
    url: str, trust: TrustAnchors, credentials: Credentials | None, checks: list[StatementCheck]
) -> ClusterAudit:
    async with Client.connect(url=url, trust=trust, credentials=credentials) as client:
        return await audit_cluster(client, list_keys=credentials is not None, checks=checks)


def _write(path: Path, audit: ClusterAudit, release: str | None) -> None:
    try:
        path.write_text(render_page(report_of(audit, release=release)), encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from None
