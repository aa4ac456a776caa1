"""A real cluster at the command line: a payment above the amount waits until two people have read and approved it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eth_account import Account

from kms.cli import main
from kms.client import PendingError
from tests.kms.approvals.office import RULES, payment
from tests.kms.cluster_fixture import RunningCluster, cluster

__all__ = ["cluster"]

pytestmark = pytest.mark.cluster


class Desk:
    """The `kms` command against the cluster."""

    def __init__(self, running: RunningCluster, directory: Path) -> None:
        self.running, self.directory = running, directory
        self.key: dict[str, Any] = {}
        self.environment = {"HOLDFAST_CLUSTER": str(running.dev.cluster_file)}

    def kms(self, *words: str, approver: str | None = None, **options: Any) -> Result:
        """One command; `approver` names whose key it uses."""
        environment = dict(self.environment)
        if approver is not None:
            environment["HOLDFAST_APPROVER_KEY"] = str(self.directory / f"{approver}.pem")
        return CliRunner().invoke(main, list(words), env=environment, **options)

    def facts(self, *words: str, **options: Any) -> Any:
        """The JSON a command prints."""
        done = self.kms(*words, "--json", **options)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def desk(cluster: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Two approvers, a policy and an Ethereum key."""
    directory = tmp_path_factory.mktemp("desk")
    made = Desk(cluster, directory)
    for name in ("ada", "bob"):
        made.facts("approvers", "create", name, "--group", "treasury", "--key-file", str(directory / f"{name}.pem"))
    rules = directory / "policy.json"
    rules.write_text(json.dumps({"name": "treasury", "rules": RULES}))
    policy = made.facts("policy", "put", str(rules))["policy"]
    made.key = made.facts("keys", "create", "wallet", "--usage", "evm", "--policy", policy)
    return made


async def ask(desk: Desk, value: int, nonce: int) -> PendingError:
    """The agent asks for a payment that has to wait."""
    async with desk.running.as_agent() as client:
        with pytest.raises(PendingError) as caught:
            await client.sign.evm_transaction(desk.key["key"], payment(value, nonce))
    return caught.value


def test_payment_above_the_amount(desk: Desk) -> None:
    """Listed, shown, approved by two; the raw transaction is the key's and the words were rendered here."""
    running = desk.running
    pending = running.run(ask(desk, 500_000, 0))
    listed = desk.facts("operations", "list", "--state", "waiting", approver="ada")
    assert pending.operation in {item["operation"] for item in listed}
    shown = desk.kms("operations", "show", pending.operation, approver="ada")
    assert "value: 0.0000000000005 ether (500000 wei)" in shown.stderr
    first = desk.kms("approve", pending.operation, "--yes", approver="ada")
    assert (first.exit_code, first.stderr.splitlines()[-1]) == (
        0,
        f"{pending.operation} is waiting, 1 of 2 approvals",
    )
    assert "value: 0.0000000000005 ether (500000 wei)" in first.stderr
    assert desk.kms("approve", pending.operation, "--yes", approver="bob").exit_code == 0
    ended = desk.facts("operations", "show", pending.operation, "--wait", "30")
    assert ended["state"] == "succeeded", ended
    signed = ended["result"]["signature"]
    assert Account.recover_transaction(signed["raw_transaction"]) == desk.key["addresses"]["evm"]


def test_rejection_and_cancellation(desk: Desk) -> None:
    """One rejection ends it; so does an administrator; later approvals are refused with exit code 1."""
    for verb in (("reject", "--yes"), ("operations", "cancel")):
        pending = desk.running.run(ask(desk, 600_000, 1))
        done = desk.kms(*verb, pending.operation, approver="ada")
        assert done.exit_code == 0, done.output
        late = desk.kms("approve", pending.operation, "--yes", approver="bob")
        assert (late.exit_code, "operation.state" in late.stderr) == (1, True)


def test_nobody_approves_without_reading(desk: Desk) -> None:
    """Without a terminal and without --yes nothing is signed."""
    pending = desk.running.run(ask(desk, 700_000, 2))
    done = desk.kms("approve", pending.operation, approver="ada", input="")
    assert (done.exit_code, "nobody to ask" in done.stderr) == (2, True)
    shown = desk.facts("operations", "show", pending.operation)
    assert shown["approval"]["approvals"] == []
    assert desk.kms("operations", "cancel", pending.operation).exit_code == 0


def test_revoked_approver(desk: Desk) -> None:
    """Listed with their groups; once revoked they cannot even ask."""
    key = desk.directory / "eve.pem"
    eve = desk.facts("approvers", "create", "eve", "--group", "treasury", "--key-file", str(key))["approver"]
    assert {"approver": eve, "groups": ["treasury"]}.items() <= next(
        item for item in desk.facts("approvers", "list") if item["approver"] == eve
    ).items()
    assert desk.kms("approvers", "revoke", eve).exit_code == 0
    done = desk.kms("operations", "list", approver="eve")
    assert (done.exit_code, "token.unknown-key" in done.stderr) == (1, True)
