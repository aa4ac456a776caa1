"""`attest receipt`: what a cluster decided on one request, verified offline from one file, as of then."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from attestation.canonical import canonical_json, parse_json
from attestation.cli import render
from attestation.cli.options import HexBytes, read_file, read_roots
from attestation.errors import AttestationError
from attestation.receipts.document import RECEIPT_BYTES_MAX
from attestation.receipts.judge import ReceiptVerdict, judge
from attestation.receipts.reading import blob, hexadecimal
from attestation.roots import Roots
from attestation.verdict import Result

EXIT_CODES = {Result.TRUSTED: 0, Result.UNTRUSTED: 1, Result.INDETERMINATE: 3}

_PATH = click.Path(path_type=Path, allow_dash=True)
_HEADLINE = {
    Result.TRUSTED: ("bold green", "TRUE"),
    Result.UNTRUSTED: ("bold red", "NOT TRUE"),
    Result.INDETERMINATE: ("bold yellow", "CANNOT TELL"),
}


@click.command("receipt")
@click.argument("file", type=_PATH)
@click.option("--cluster", "cluster_path", type=_PATH, envvar="HOLDFAST_CLUSTER", help="The cluster file you hold.")
@click.option("--cluster-id", type=HexBytes(), help="Or the id of the cluster you know, in hex.")
@click.option("--root", "root_paths", multiple=True, type=_PATH, help="Trust this root, and no vendor's; repeatable.")
@click.option("--message", "message_path", type=_PATH, help="What was signed: checked against the nodes' commitments.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one line of JSON.")
def command(
    file: Path,
    cluster_path: Path | None,
    cluster_id: bytes | None,
    root_paths: tuple[Path, ...],
    message_path: Path | None,
    as_json: bool,
) -> None:
    """Verify the receipt in FILE (`-` for standard input) and print every step.

    Everything is judged as of the time of the decision.  Exit code 0: it is true; 1: it is not; 2: usage; 3: cannot
    tell, because no cluster was named or collateral is missing.
    """
    cluster, roots = _pins(cluster_path, cluster_id, root_paths)
    message = read_file(message_path) if message_path is not None else None
    verdict = judge(_read(file), cluster=cluster, roots=roots, message=message)
    if as_json:
        click.echo(canonical_json(verdict.to_json()))
    else:
        _show(verdict)
    _give_hints(verdict, is_pinned=cluster is not None)
    raise SystemExit(EXIT_CODES[verdict.result])


def _pins(path: Path | None, cluster_id: bytes | None, root_paths: tuple[Path, ...]) -> tuple[bytes | None, Roots]:
    """The cluster id and the roots to trust: as given, or as the cluster file says."""
    if path is None:
        if cluster_id is not None and len(cluster_id) != 32:
            raise click.UsageError("expected a cluster id of 32 bytes (64 hex digits)")
        return cluster_id, read_roots(root_paths)
    try:
        value = parse_json(read_file(path))
        found = hexadecimal(value["cluster_id"], "cluster_id")
        simulated = [blob(item, "simulated_roots") for item in value.get("simulated_roots", [])]
    except (AttestationError, KeyError, TypeError, AttributeError):
        raise click.UsageError(f"{path} is not a cluster file") from None
    if cluster_id not in (None, found):
        raise click.UsageError("the cluster file and --cluster-id name different clusters")
    return found, Roots.of(simulated) if simulated and not root_paths else read_roots(root_paths)


def _read(path: Path) -> bytes:
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            data: bytes = file.read(RECEIPT_BYTES_MAX + 1)
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from None
    return data


def _show(verdict: ReceiptVerdict) -> None:
    out = render.console()
    out.print(render.steps_table(verdict.steps))
    if verdict.facts:
        out.print()
        out.print(render.facts_table(_rows(verdict.facts)))
    style, text = _HEADLINE[verdict.result]
    out.print(f"\n[{style}]{text}[/{style}]")


def _rows(facts: Any) -> list[tuple[str, str]]:
    rows = [
        ("outcome", facts["outcome"] + (f" ({', '.join(facts['codes'])})" if facts["codes"] else "")),
        ("decided", facts["decided_at"]),
        ("request", facts["request_id"]),
        ("principal", facts["principal"]),
        ("resource", f"{facts['resource']} epoch {facts['epoch']}" if facts["epoch"] else facts["resource"]),
        ("policy", f"{facts['policy']} version {facts['policy_version']}, rule {facts['rule']}"),
        ("signers", ", ".join(facts["signers"])),
        ("cluster", f"{facts['cluster']} ({facts['environment']})"),
    ]
    for node in facts["nodes"]:
        peers = ", ".join(node["countersigned_by"]) or "nobody"
        rows.append((node["slot"], f"boot {node['boot_counter']}, leaf {node['leaf']}, {node['tee']}, seen by {peers}"))
    if facts["signature"]:
        rows.append(("signature", facts["signature"]))
    return [row for row in rows if row[1]]


def _give_hints(verdict: ReceiptVerdict, *, is_pinned: bool) -> None:
    if not is_pinned:
        render.hint("name the cluster you know with --cluster or --cluster-id: anybody may run one of his own")
    if "certificate.root" in verdict.reasons:
        render.hint("evidence under another root, such as a simulated one, verifies only with --root")
    if verdict.facts and verdict.facts["environment"] == "development":
        render.warn("a development cluster: no hardware vendor vouches for this result")
