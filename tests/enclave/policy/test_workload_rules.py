"""Rules of kind `release`: read strictly, decided on measured registers."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from attestation.errors import PolicyError
from attestation.evidence import Claims, Tee
from enclave.policy import Policy, Request, evaluate
from enclave.policy.schema import policy_schema
from enclave.workload import WorkloadFacts
from tests.enclave.policy.requests import allow, deny
from tests.enclave.samples import AGENT, KEY, NOW

VALIDATOR = Draft202012Validator(policy_schema())
IMAGE, OTHER = "ab" * 48, "cd" * 48
TDX = {"measurements": {"mrtd": [IMAGE, OTHER], "rtmr3": ["11" * 48]}}

GOOD: list[dict[str, Any]] = [
    TDX,
    TDX | {"tees": ["tdx"]},
    {"measurements": {"measurement": [IMAGE]}, "tees": ["sev-snp"]},
    {"measurements": {"mrenclave": ["ab" * 32], "mrsigner": ["cd" * 32]}},
]

WRONG: list[Any] = [
    {},
    {"measurements": {}},
    {"measurements": {"rtmr3": ["11" * 48]}},
    {"measurements": {"mrtd": []}},
    {"measurements": {"mrtd": IMAGE}},
    {"measurements": {"mrtd": [IMAGE, IMAGE]}},
    {"measurements": {"mrtd": [IMAGE.upper()]}},
    {"measurements": {"mrtd": ["a"]}},
    {"measurements": {"mrtd": [""]}},
    {"measurements": {"mrtd": ["ab" * 65]}},
    {"measurements": {"mrtd": [5]}},
    {"measurements": {"mrtd": [IMAGE], "pcr0": [IMAGE]}},
    {"measurements": [IMAGE]},
    {"measurements": {"mrtd": [f"{n:02x}" for n in range(65)]}},
    TDX | {"tees": []},
    TDX | {"tees": ["nitro"]},
    TDX | {"tees": "tdx"},
    TDX | {"extra": 1},
    "tdx",
    None,
]


def asked(tee: Tee = Tee.TDX, **registers: str) -> Request:
    """A request of a workload with these registers."""
    claims = Claims(
        tee=tee, root="simulated", evidence_id="", report_data=bytes(64), measurements=registers, tcb_status=None,
        advisories=(), tcb_evaluation=None, tcb_date=None, flags={}, platform_id=None, valid_until=NOW, signers={},
        details={},
    )  # fmt: skip
    return Request(agent=AGENT, key=KEY, kind="release", payload=WorkloadFacts(claims=claims), now=NOW)


@pytest.mark.parametrize("leaf", GOOD, ids=repr)
def test_good_leaves(leaf: dict[str, Any]) -> None:
    """Reader and schema accept them."""
    rule = allow(kinds=["release"], workload=leaf)
    Policy.of([rule])
    assert VALIDATOR.is_valid([rule])


@pytest.mark.parametrize("leaf", WRONG, ids=lambda leaf: repr(leaf)[:60])
def test_wrong_leaves(leaf: Any) -> None:
    """The reader refuses them; so does the schema where a schema can tell."""
    rule = allow(kinds=["release"], workload=leaf)
    with pytest.raises(PolicyError) as caught:
        Policy.of([rule])
    assert not VALIDATOR.is_valid([rule]) or any(
        words in caught.value.detail for words in ("measures the code", "distinct")
    )


def test_the_leaf_belongs_to_allow_rules_about_releases() -> None:
    """Elsewhere it would silently do nothing."""
    for rule in (allow(kinds=["decrypt"], workload=TDX), deny(kinds=["release"], workload=TDX)):
        with pytest.raises(PolicyError):
            Policy.of([rule])


@pytest.mark.parametrize(
    ("tee", "registers", "allowed"),
    [
        (Tee.TDX, {"mrtd": IMAGE, "rtmr3": "11" * 48}, True),
        (Tee.TDX, {"mrtd": OTHER, "rtmr3": "11" * 48, "rtmr0": "22" * 48}, True),
        (Tee.TDX, {"mrtd": IMAGE, "rtmr3": "12" * 48}, False),
        (Tee.TDX, {"mrtd": "ee" * 48, "rtmr3": "11" * 48}, False),
        (Tee.TDX, {"mrtd": IMAGE}, False),
        (Tee.TDX, {}, False),
        (Tee.SEV_SNP, {"measurement": IMAGE}, False),
        (Tee.SEV_SNP, {"mrtd": IMAGE, "rtmr3": "11" * 48}, False),
    ],
)
def test_every_named_register_must_hold(tee: Tee, registers: dict[str, str], allowed: bool) -> None:
    """All of them, on the kind of enclave the image register belongs to."""
    policy = Policy.of([allow(kinds=["release"], workload=TDX)])
    assert evaluate(policy, asked(tee, **registers)).allowed is allowed


def test_a_rule_without_a_workload_releases_nothing() -> None:
    """Nor does one for everything else, nor a request whose evidence was not read."""
    anything = Policy.of([allow(kinds=["release", "decrypt", "message"])])
    request = asked(mrtd=IMAGE, rtmr3="11" * 48)
    assert not evaluate(anything, request).allowed
    unread = Request(agent=AGENT, key=KEY, kind="release", payload=None, now=NOW)
    assert not evaluate(Policy.of([allow(kinds=["release"], workload=TDX)]), unread).allowed


def test_deny_rules_win() -> None:
    """A deny rule without conditions closes releases whatever the workload."""
    policy = Policy.of([allow(kinds=["release"], workload=TDX), deny("stop", kinds=["release"])])
    assert not evaluate(policy, asked(mrtd=IMAGE, rtmr3="11" * 48)).allowed
