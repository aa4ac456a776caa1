"""The receipt of what people approved: found by its operation, with the decisions that led there."""

from __future__ import annotations

import pytest

from attestation.receipts.document import Receipt
from attestation.receipts.entry import Decision
from attestation.verdict import Result
from kms.client import ApproverCredentials
from tests.kms.approvals.office import Office
from tests.kms.receipt_world import fetch

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGE = b"a contract for two to approve"


async def test_an_approved_signature_has_a_true_receipt(
    office: Office, ada: ApproverCredentials, bob: ApproverCredentials
) -> None:
    """Waiting, approvals and signatures are leaves of one request; the signature is what makes it allowed."""
    pending = await office.pending(office.ed25519, MESSAGE)
    await office.approve(pending.operation, ada, bob)
    signed = await office.agent.operations.result(pending, timeout_s=20)
    receipt = await fetch(office.fabric, pending.operation)
    verdict = receipt.judge(message=MESSAGE)
    assert verdict.result is Result.TRUSTED, [step for step in verdict.steps if step.code]
    assert (verdict.facts["verbs"], verdict.facts["rule"]) == (["sign"], "words")
    assert verdict.facts["request_id"] == signed.request_id
    leaves = [leaf.entry for log in Receipt.parse(receipt.data).logs for leaf in log.leaves]
    verbs = {entry.verb for entry in leaves if isinstance(entry, Decision)}
    assert {"park", "approved", "sign"} <= verbs
