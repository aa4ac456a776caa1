"""`attest inspect`: what a piece of evidence says about itself, with nothing verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click

from attestation.amd.report import SnpReport
from attestation.canonical import INTEGER_MAX, canonical_json
from attestation.cli import render
from attestation.cli.options import read_evidence
from attestation.errors import AttestationError
from attestation.evidence import Tee, detect
from attestation.instant import format_instant
from attestation.intel.pck import parse_extension
from attestation.intel.quote import Quote, parse_quote
from attestation.nitro.document import NitroDocument
from attestation.pem import canonical_chain
from attestation.x509 import parse_certificate

_BULKY = frozenset({"signed", "pck_chain", "qe_report_bytes", "signed_region", "payload", "certificate", "ca_bundle"})


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def command(file: Path, as_json: bool) -> None:
    """Show what the evidence in FILE says, without verifying anything.

    Exit code 0: it parses; 1: it does not; 2: usage.
    """
    evidence = read_evidence(file)
    try:
        facts = describe(evidence)
    except AttestationError as error:
        click.echo(f"error: {error}", err=True)
        if error.hint is not None:
            render.hint(error.hint)
        raise SystemExit(1) from None
    if as_json:
        click.echo(canonical_json({"verified": False, **facts}))
    else:
        render.console().print(render.facts_table(_rows(facts)))
        render.warn("nothing here is verified: use `attest verify`")


def describe(evidence: bytes) -> dict[str, Any]:
    """The evidence's own statements as a JSON object; raises AttestationError if it does not parse."""
    tee = detect(evidence)
    if tee is Tee.SEV_SNP:
        report = SnpReport.parse(evidence)
        return {"tee": tee.value, "evidence_id": report.evidence_id, **_plain(report)}
    if tee is Tee.NITRO:
        document = NitroDocument.parse(evidence)
        return {"tee": tee.value, "evidence_id": document.evidence_id, **_plain(document)}
    return _describe_quote(parse_quote(evidence))


def _describe_quote(quote: Quote) -> dict[str, Any]:
    chain = [parse_certificate(data) for data in canonical_chain(quote.pck_chain)]
    facts = {
        "tee": quote.tee.value,
        "evidence_id": quote.evidence_id,
        "quote_version": quote.version,
        "body": _plain(quote.body),
        "flags": quote.body.flags(),
        "quoting_enclave": _plain(quote.qe_report),
        "certificates": [
            {
                "subject": certificate.common_name,
                "serial": f"{certificate.serial:x}",
                "not_before": format_instant(certificate.not_before),
                "not_after": format_instant(certificate.not_after),
            }
            for certificate in chain
        ],
    }
    if chain:
        pck = parse_extension(chain[0])
        facts["platform"] = _plain(pck) | {"configuration": dict(pck.configuration)}
    return facts


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.name not in _BULKY}
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, int) and abs(value) > INTEGER_MAX:
        return str(value)
    return value


def _rows(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        label = f"{prefix}{name}"
        if isinstance(value, Mapping):
            rows += _rows(value, f"{label}.")
        elif isinstance(value, list):
            rows += _rows({str(index): member for index, member in enumerate(value)}, f"{label}.")
        else:
            rows.append((label, str(value)))
    return rows
