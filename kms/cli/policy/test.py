"""`kms policy test`."""

from __future__ import annotations

from typing import BinaryIO

import click

from kms.cli.failure import REFUSED
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, emit_table, say
from kms.cli.policy.source import policy_members


@click.command()
@click.argument("policy")
@click.argument("cases", type=click.File("rb"))
@with_target
def test(policy: str, cases: BinaryIO, target: Target) -> None:
    """Check that POLICY (a file, or pol_...) decides each request in CASES as the file says.

    Requests are the bodies agents send, read as nodes read them.  Exit code 1 if any case fails.
    `kms policy template NAME --cases` prints an example of such a file.
    """
    from attestation.canonical import JSON_BYTES_MAX
    from enclave.limits.terms import Limits
    from enclave.policy import Policy
    from enclave.policy.cases import run_cases

    members = run(policy_members(policy, target))
    Limits.of(members.get("budgets", ()), members.get("rate"), members.get("nonce_guard"))
    results = run_cases(Policy.of(members["rules"]), cases.read(JSON_BYTES_MAX + 1))
    if target.json:
        names = ("name", "passed", "expected", "found", "reason")
        emit_json([{name: getattr(result, name) for name in names} for result in results])
    else:
        rows = [
            ("ok" if result.passed else "FAILED", result.name, result.expected, result.found, result.reason)
            for result in results
        ]
        emit_table(("result", "case", "expected", "found", "because"), rows, empty="no cases")
    failed = sum(not result.passed for result in results)
    if failed:
        say(f"{failed} of {len(results)} cases failed")
        raise SystemExit(REFUSED)
    say(f"{len(results)} cases passed")
