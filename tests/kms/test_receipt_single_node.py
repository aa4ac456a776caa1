"""What one lying node can make a receipt say by itself, its peers being honest: nothing that took several."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from attestation.verdict import Result
from tests.kms.fabric import Fabric
from tests.kms.receipt_world import Made, fetch
from tests.kms.test_receipt_forgeries import changed_decision, colluding, decision_of, forged_log

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(fabric: Fabric) -> Made:
    """A true receipt of one Ed25519 signature."""
    fabric.gateway.heartbeats.interval_s = 0.3
    record = await fabric.create_key()
    status, answer = await fabric.sign(record, b"a message of which others are silent")
    assert status == 200
    found = await fetch(fabric, answer["request_id"])
    assert found.judge().result is Result.TRUSTED
    return found


@pytest.mark.parametrize("verb", ["ceremony-start", "secret-put", "import-prepare"])
@pytest.mark.parametrize("names", [0, 1])
async def test_one_node_alone_makes_no_receipt_of_an_order(fabric: Fabric, made: Made, verb: str, names: int) -> None:
    """An order takes every node of the key, never one: a single node's word that it was allowed proves nothing."""

    def change(value: dict[str, Any]) -> None:
        log = value["logs"][0]
        decision = decision_of(log)
        own = tuple(item for item in decision.members if item[0] == log["slot"])[:names]
        fields = {"verb": verb, "members": own, "certificate": b"", "epoch": 0, "policy": "", "policy_version": 0}
        # Honest peers countersign heads without seeing what stands below them.
        forged_log(fabric, log, changed_decision(decision, **fields, rule="", output=b""))
        colluding(fabric, log, *fabric.slots)
        value["logs"] = [log]
        value["certificate"] = None
        value["openings"] = []

    assert made.judge_changed(change).reasons == ("receipt.signers",)


async def test_a_refusal_speaks_for_the_nodes_it_names_only(fabric: Fabric, made: Made) -> None:
    """Whoever hands over a receipt can leave out that others allowed: a refusal is true of the nodes shown only."""

    def change(value: dict[str, Any]) -> None:
        log = value["logs"][0]
        forged_log(fabric, log, changed_decision(decision_of(log), outcome="deny", code="policy.denied", output=b""))
        colluding(fabric, log, *fabric.slots)
        value["logs"] = [log]
        value["openings"] = []

    verdict = made.judge_changed(change)
    assert verdict.result is Result.TRUSTED
    assert (verdict.facts["outcome"], len(verdict.facts["nodes"])) == ("refused", 1)
