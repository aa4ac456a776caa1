"""The shared synthetic Intel set (made independently of this project): every case comes out as its index says."""

from __future__ import annotations

from typing import Any

import pytest

from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.policy import AppraisalPolicy
from attestation.verdict import Outcome
from attestation.verifier import Verifier
from tests.attestation import shared_vectors as shared

pytestmark = shared.NEEDED

INDEX = shared.synthetic("intel")
CASES = INDEX["cases"]
POLICY = AppraisalPolicy(allowed_roots=frozenset({"custom"}))

RULES = {
    "reject: debug": "policy.debug",
    "reject: reserved TUD bit": "policy.reserved-attributes",
    "reject: reserved attribute bit": "policy.reserved-attributes",
    "reject: impossible XFAM": "policy.xfam",
    "reject: Revoked": "policy.tcb-status",
    "reject: TCB not supported": "policy.tcb-status",
    "UpToDate + policy: MIGRATABLE": "policy.migratable",
    "UpToDate + policy: KEY LOCKER": "policy.key-locker",
    "UpToDate + policy: PERFMON": "policy.perfmon",
    "UpToDate + policy: SEPT_VE_DISABLE": "policy.sept-ve-disable",
    "UpToDate + policy: SERVICE TD": "policy.service-td",
    "UpToDate + policy: zero measurement": "policy.zero-measurements",
    "UpToDate + policy: unknown MRSEAM": "policy.zero-measurements",
    "UpToDate + policy: min TEDN": "policy.tcb-evaluation",
    "UpToDate + policy: TEDN mismatch": "policy.tcb-evaluation",
}
"""What the index asks of policy, and the rule that answers."""

BY_ID = {
    "sgx3-provisionkey": "policy.provision-key",
    "tdx4-qe-belowlowest": "policy.tcb-status",
}


def outcome(case: dict[str, Any]) -> tuple[str | None, str | None, set[str | None]]:
    """(TCB status, code of the verification error, codes of refusing rules)."""
    verifier = Verifier.with_root(shared.read(INDEX["root"]))
    try:
        collateral = Collateral.of(shared.read(case["collateral"]))
        claims = verifier.verify(shared.read(case["quote"]), collateral=collateral, now=case["now"])
    except AttestationError as error:
        return None, error.code, set()
    steps = POLICY.appraise(claims, case["now"])
    assert claims.tcb_status is not None
    return claims.tcb_status.value, None, {step.code for step in steps if step.result is Outcome.FAIL}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case: dict[str, Any]) -> None:
    """Accepted cases have the expected status; refused ones fail in verification or by the rule that is meant."""
    status, error, rules = outcome(case)
    expected = case["expected"]
    rule = RULES.get(expected) or BY_ID.get(case["id"])
    if rule is not None:
        assert error is None
        assert rules == {rule}
    elif expected.startswith("reject"):
        assert error is not None
    else:
        assert status == expected.split()[0]
        assert rules <= {"policy.tcb-status"}


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case["expected"].startswith("reject")], ids=lambda case: case["id"]
)
def test_advisories(case: dict[str, Any]) -> None:
    """Advisories equal those of the independent implementations, quoting enclave advisories included."""
    other = case["dcap_qvl_0_7_0"] if "status" in case["dcap_qvl_0_7_0"] else case["independent"]
    verifier = Verifier.with_root(shared.read(INDEX["root"]))
    collateral = Collateral.of(shared.read(case["collateral"]))
    claims = verifier.verify(shared.read(case["quote"]), collateral=collateral, now=case["now"])
    assert set(claims.advisories) == set(other["advisories"])
