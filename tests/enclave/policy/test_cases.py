"""Policy test files: each case is decided as a node would, and a wrong expectation is reported."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.envelope import b64url
from attestation.errors import PolicyError
from enclave.policy import Policy
from enclave.policy.cases import run_cases
from tests.enclave.policy.requests import TRANSACTION, allow
from tests.enclave.samples import NOW, an_id

POLICY = Policy.of(
    [
        allow("payments", kinds=["evm_transaction"], evm={"value_max": "1000"}, time={"not_before": NOW}),
        allow("secrets", kinds=["decrypt"], agents=[an_id("agt", 3)]),
    ]
)
PAY = {"sign": {"kind": "evm_transaction", "transaction": TRANSACTION}}
OPEN = {"decrypt": {"ciphertext": b64url(bytes(range(64))), "recipient": b64url(b"\x09" + bytes(31))}}


def a_file(*cases: dict[str, Any], **changes: Any) -> bytes:
    """A test file for EVM keys."""
    value = {
        "type": "holdfast/policy-cases/v1",
        "usage": "evm",
        "spec": "secp256k1-ecdsa",
        "now": NOW,
        "cases": [{"name": f"case {number}"} | case for number, case in enumerate(cases)],
    }
    return json.dumps(value | changes).encode()


def passed(case: dict[str, Any]) -> bool:
    """Whether one case passes."""
    (result,) = run_cases(POLICY, a_file(case))
    return result.passed


OVER = {"sign": {"kind": "evm_transaction", "transaction": TRANSACTION | {"value": "1001"}}}
BROKEN = {"sign": {"kind": "evm_transaction", "transaction": TRANSACTION | {"type": 3}}}


@pytest.mark.parametrize(
    ("case", "expectations"),
    [
        (PAY, {"allow"}),
        (OVER, {"deny"}),
        (BROKEN, {"refuse"}),
        (PAY | {"now": NOW - 1}, {"deny"}),
        (PAY | {"usage": "solana"}, {"refuse"}),
        (OPEN, {"deny"}),
        (OPEN | {"agent": an_id("agt", 3)}, {"allow"}),
    ],
)
def test_a_case_passes_with_its_own_outcome_only(case: dict[str, Any], expectations: set[str]) -> None:
    """Of the three expectations exactly the true one passes."""
    assert {expect for expect in ("allow", "deny", "refuse") if passed(case | {"expect": expect})} == expectations


def test_rule_and_code_narrow_the_expectation() -> None:
    """The deciding rule, or the refusal's code, has to be the one named."""
    assert passed(PAY | {"expect": "allow", "rule": "payments"})
    assert not passed(PAY | {"expect": "allow", "rule": "secrets"})
    assert not passed(OVER | {"expect": "deny", "rule": "payments"})
    assert passed(BROKEN | {"expect": "refuse", "code": "payload.evm-type"})
    assert not passed(BROKEN | {"expect": "refuse", "code": "payload.usage"})


def test_a_result_explains_itself() -> None:
    """A failed case says what was expected, what was found and why."""
    (result,) = run_cases(POLICY, a_file(OVER | {"expect": "allow", "rule": "payments"}))
    assert (result.expected, result.found) == ("allow by payments", "deny")
    assert "1001 wei, at most 1000" in result.reason
    assert result.decision is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        a_file(),
        a_file(PAY | {"expect": "allow"}, type="x"),
        a_file(PAY | {"expect": "allow"}, extra=1),
        a_file(PAY),
        a_file(PAY | {"expect": "maybe"}),
        a_file(PAY | {"expect": "allow", "extra": 1}),
        a_file({"expect": "allow"}),
        a_file(PAY | OPEN | {"expect": "allow"}),
        a_file(PAY | {"expect": "allow", "code": "x"}),
        a_file(PAY | {"expect": "refuse", "rule": "x"}),
        a_file(PAY | {"expect": "allow", "agent": "me"}),
        a_file(PAY | {"expect": "allow", "name": "same"}, PAY | {"expect": "allow", "name": "same"}),
        a_file({"sign": [], "expect": "allow"}),
    ],
)
def test_a_malformed_file_is_refused(data: bytes) -> None:
    """A misspelt case would test nothing, so the whole file is refused."""
    with pytest.raises(PolicyError) as caught:
        run_cases(POLICY, data)
    assert caught.value.code == "policy.cases"


@given(
    st.dictionaries(
        st.sampled_from(["sign", "decrypt", "expect", "rule", "agent", "now", "usage"]),
        st.none() | st.integers() | st.text(max_size=5) | st.dictionaries(st.text(max_size=4), st.none(), max_size=2),
    )
)
def test_hostile_files_only_raise_policy_errors(case: dict[str, Any]) -> None:
    """Cases with any values run or raise a PolicyError."""
    with contextlib.suppress(PolicyError):
        run_cases(POLICY, a_file(case))
