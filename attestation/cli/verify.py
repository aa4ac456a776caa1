"""`attest verify`: one piece of evidence, everything offline, every step shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from attestation.canonical import canonical_json
from attestation.cli import render
from attestation.cli.options import HexBytes, Instant, current_time, read_evidence, read_policy, read_roots
from attestation.collateral import Collateral
from attestation.errors import CollateralError
from attestation.policy import AppraisalPolicy
from attestation.roots import Roots
from attestation.verdict import Outcome, Result, Step, Verdict
from attestation.verifier import Verifier

EXIT_CODES = {Result.TRUSTED: 0, Result.UNTRUSTED: 1, Result.INDETERMINATE: 3}

_PATH = click.Path(path_type=Path, allow_dash=True)


@click.command("verify")
@click.argument("file", type=_PATH)
@click.option(
    "--collateral",
    "collateral_paths",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Directory, JSON bundle, PEM or DER file; may be repeated.",
)
@click.option("--at", type=Instant(), help="Verify as of this time (RFC 3339 or Unix seconds); default now.")
@click.option("--root", "root_paths", multiple=True, type=_PATH, help="Trust this root instead of the vendors'.")
@click.option("--policy", "policy_path", type=_PATH, help="Appraisal policy (JSON); default is the production policy.")
@click.option("--expect-report-data", type=HexBytes(), help="The report data the evidence must carry, in hex.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one line of JSON.")
def command(
    file: Path,
    collateral_paths: tuple[Path, ...],
    at: int | None,
    root_paths: tuple[Path, ...],
    policy_path: Path | None,
    expect_report_data: bytes | None,
    as_json: bool,
) -> None:
    """Verify the evidence in FILE (`-` for standard input) and print every step.

    The platform is told from the bytes.  Exit code 0: trusted; 1: not trusted; 2: usage;
    3: cannot tell, because collateral is missing or out of date.
    """
    evidence = read_evidence(file)
    roots = read_roots(root_paths)
    policy = _policy(policy_path, roots if root_paths else None)
    now = current_time() if at is None else at
    try:
        collateral = Collateral.load(collateral_paths)
    except CollateralError as error:
        if error.code == "collateral.unreadable":
            raise click.UsageError(error.detail) from None
        verdict = _bad_collateral(error, now)
    else:
        verdict = Verifier(roots).examine(
            evidence, collateral=collateral, now=now, policy=policy, expected_report_data=expect_report_data
        )
    other_roots = sorted({anchor.label for anchor in roots.anchors if anchor.label != anchor.vendor})
    if other_roots:
        render.warn(f"trusting a {' and a '.join(other_roots)} root: no hardware vendor vouches for this result")
    if as_json:
        value = verdict.to_json()
        if value["root"] is None and other_roots:
            value["root"] = other_roots[0]
        click.echo(canonical_json(value))
    else:
        render.show_verdict(verdict, render.console())
    _give_hints(verdict, has_binding=expect_report_data is not None)
    raise SystemExit(EXIT_CODES[verdict.result])


def _policy(path: Path | None, named: Roots | None) -> AppraisalPolicy:
    """The policy to judge by: a root named on the command line counts unless a policy file lists the allowed ones."""
    policy, lists_roots = (AppraisalPolicy.production(), False) if path is None else read_policy(path)
    if named is None or lists_roots:
        return policy
    return replace(policy, allowed_roots=policy.allowed_roots | {anchor.label for anchor in named.anchors})


def _bad_collateral(error: CollateralError, now: int) -> Verdict:
    step = Step(step="4", name="collateral is readable", result=Outcome.FAIL, reason=error.detail, code=error.code)
    return Verdict(result=Result.UNTRUSTED, steps=(step,), reasons=(error.code,), verified_at=now)


def _give_hints(verdict: Verdict, *, has_binding: bool) -> None:
    if verdict.result is Result.INDETERMINATE:
        render.hint("add current collateral with --collateral, or verify as of the time it was current with --at")
    if verdict.result is Result.TRUSTED and not has_binding:
        render.hint("nothing ties this evidence to your request: pass --expect-report-data")
    if any(reason.startswith("policy.") for reason in verdict.reasons):
        render.hint("the evidence is genuine but refused by policy; --policy takes another one")
    if "certificate.root" in verdict.reasons:
        render.hint("evidence under another root verifies only with --root")
