"""`attest verify`: one piece of evidence, everything offline, every step shown."""

from __future__ import annotations

from pathlib import Path

import click

from attestation.canonical import canonical_json
from attestation.cli import render
from attestation.cli.appraisal import Appraiser, with_appraisal
from attestation.cli.options import HexBytes, read_evidence
from attestation.verdict import Result, Verdict

EXIT_CODES = {Result.TRUSTED: 0, Result.UNTRUSTED: 1, Result.INDETERMINATE: 3}


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@with_appraisal
@click.option("--expect-report-data", type=HexBytes(), help="The report data the evidence must carry, in hex.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one line of JSON.")
def command(file: Path, appraiser: Appraiser, expect_report_data: bytes | None, as_json: bool) -> None:
    """Verify the evidence in FILE (`-` for standard input) and print every step.

    The platform is told from the bytes.  Exit code 0: trusted; 1: not trusted; 2: usage;
    3: cannot tell, because collateral is missing or out of date.
    """
    verdict = appraiser.examine(read_evidence(file), expected_report_data=expect_report_data)
    appraiser.warn_of_roots()
    if as_json:
        value = verdict.to_json()
        if value["root"] is None and appraiser.other_roots:
            value["root"] = appraiser.other_roots[0]
        click.echo(canonical_json(value))
    else:
        render.show_verdict(verdict, render.console())
    _give_hints(verdict, has_binding=expect_report_data is not None)
    raise SystemExit(EXIT_CODES[verdict.result])


def _give_hints(verdict: Verdict, *, has_binding: bool) -> None:
    if verdict.result is Result.INDETERMINATE:
        render.hint(
            "add current collateral with --collateral (`attest fetch` gets it), or verify as of the time it was"
            " current with --at"
        )
    if verdict.result is Result.TRUSTED and not has_binding:
        render.hint("nothing ties this evidence to your request: pass --expect-report-data")
    if any(reason.startswith("policy.") for reason in verdict.reasons):
        render.hint("the evidence is genuine but refused by policy; --policy takes another one")
    if "certificate.root" in verdict.reasons:
        render.hint("evidence under another root verifies only with --root")
