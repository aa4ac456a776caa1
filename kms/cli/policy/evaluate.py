"""`kms policy evaluate`."""

from __future__ import annotations

import time
from typing import Any, BinaryIO

import click

from kms.cli.failure import REFUSED
from kms.cli.options import Target, run, with_target
from kms.cli.output import emit_json, say
from kms.cli.policy.source import policy_members


@click.command()
@click.argument("policy")
@click.argument("body", type=click.File("rb"))
@click.option("--act", type=click.Choice(("sign", "decrypt")), default="sign", help="What the body asks for.  [sign]")
@click.option("--usage", default="evm", help="Usage of the key.  [evm]")
@click.option("--spec", default="secp256k1-ecdsa", help="Spec of the key.  [secp256k1-ecdsa]")
@click.option("--agent", default="agt_" + "a" * 26, help="Who asks (agt_... or opr_...).")
@click.option("--key", default="key_" + "a" * 26, help="With which key (key_...).")
@click.option("--now", type=int, help="Unix seconds; default: the clock.")
@with_target
def evaluate(
    policy: str,
    body: BinaryIO,
    act: str,
    usage: str,
    spec: str,
    agent: str,
    key: str,
    now: int | None,
    target: Target,
) -> None:
    """Decide the request in BODY (`-` for stdin) under POLICY (a file, or pol_...), and say which condition decided.

    Nothing is signed, charged or sent: it is the nodes' own code, run here.  Exit code 1 if it is denied.
    Budgets, rates and freezes are not part of the answer.
    """
    from enclave.policy import Policy
    from enclave.policy.cases import decide

    members = run(policy_members(policy, target))
    data = body.read((1 << 20) + 1)
    decision = decide(
        Policy.of(members["rules"]),
        data,
        act=act,
        usage=usage,
        spec=spec,
        agent=agent,
        key=key,
        now=int(time.time()) if now is None else now,
    )
    value = decision.to_json()
    if target.json:
        emit_json(value)
    else:
        for line in _tree(value):
            click.echo(line)
    if not decision.allowed:
        say(decision.reason)
        raise SystemExit(REFUSED)


def _tree(value: dict[str, Any]) -> list[str]:
    """The decision as indented lines."""
    verdict = "allow" if value["allowed"] else "approve" if "approvals" in value else "deny"
    lines = [f"{verdict}: {value['reason']}"]
    for rule in value["rules"]:
        lines.append(f"  {'+' if rule['matched'] else '-'} {rule['rule']} ({rule['effect']})")
        lines += [
            f"      {'+' if check['holds'] else '-'} {check['leaf']}: {check['detail']}" for check in rule["checks"]
        ]
    return lines
