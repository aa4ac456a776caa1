"""Reading policies: a misspelt, mistyped or pointless condition is an error, never a wider rule."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.errors import PolicyError
from enclave.policy import Policy
from enclave.policy.kinds import KINDS
from tests.enclave.policy.requests import OTHER, TO, allow, deny
from tests.enclave.samples import AGENT, KEY, an_id

EVM = ["evm_transaction"]
SOLANA = ["solana_message"]
MINT = "So11111111111111111111111111111111111111112"


FULL: list[dict[str, Any]] = [
    allow(
        "everything",
        agents=[AGENT, an_id("opr", 3)],
        keys=[KEY],
        kinds=sorted(KINDS),
        paths=["m", "m/0/2147483647"],
        opened_in_enclave="required",
        context={"tenant": ["a", "b"], "purpose": ["test"]},
        rewrap_to=[KEY],
        evm={
            "chain_ids": [1, 10],
            "recipients": [TO, OTHER],
            "value_max": "0",
            "fee_max": "1",
            "contract_creation": False,
            "selectors": ["0xa9059cbb"],
            "set_code": False,
            "tokens": [{"token": TO, "recipients": [OTHER], "amount_max": "5", "approvals": True}],
            "calls": [
                {
                    "contract": OTHER,
                    "function": "swap(address,(uint256[],bool))",
                    "args": [
                        {"at": [0], "in": [TO]},
                        {"at": [1, 0], "min": "1", "max": "7"},
                        {"at": [1, 1], "in": [True]},
                    ],
                },
                {"contract": OTHER, "function": "stop()"},
            ],
            "primary_types": ["Mail"],
            "contracts": [TO],
            "delegates": [TO],
        },
        solana={
            "programs": [MINT],
            "recipients": [MINT],
            "lamports_max": "1",
            "fee_max": "1",
            "tokens": [{"mint": MINT, "recipients": [MINT], "amount_max": "5"}],
            "instructions": "known",
        },
        time={"not_before": 1, "not_after": 2, "days": ["mon"], "from": "09:00", "to": "17:00"},
        digest="allow",
        plaintext_to_gateway="allow",
    ),
    deny("nothing-at-night", time={"from": "22:00", "to": "06:00"}),
]


def test_a_full_policy_is_read() -> None:
    """Every member in its right place is accepted."""
    assert [rule.name for rule in Policy.of(FULL).rules] == ["everything", "nothing-at-night"]


WRONG: list[Any] = [
    None,
    [],
    "allow",
    {},
    {"name": "a", "effect": "allow"},
    {"name": "a", "kinds": EVM},
    allow("null", kinds=EVM),
    allow("Name", kinds=EVM),
    allow(effect="maybe", kinds=EVM),
    allow(effect=True, kinds=EVM),
    allow(kinds=[]),
    allow(kinds=["everything"]),
    allow(kinds=["evm_transaction", "evm_transaction"]),
    allow(kinds="evm_transaction"),
    allow(kinds=None),
    allow(kinds=EVM, agents=[]),
    allow(kinds=EVM, agents=["*"]),
    allow(kinds=EVM, agents=["null"]),
    allow(kinds=EVM, agents=None),
    allow(kinds=EVM, agents=[KEY]),
    allow(kinds=EVM, keys=[AGENT]),
    allow(kinds=EVM, keys=[1]),
    allow(kinds=EVM, value_max="1"),
    allow(kinds=EVM, evm=None),
    allow(kinds=EVM, evm={"value": "1"}),
    allow(kinds=EVM, evm={"valueMax": "1"}),
    allow(kinds=EVM, evm={"value_max": 1}),
    allow(kinds=EVM, evm={"value_max": "1e18"}),
    allow(kinds=EVM, evm={"value_max": "-1"}),
    allow(kinds=EVM, evm={"value_max": "01"}),
    allow(kinds=EVM, evm={"value_max": ""}),
    allow(kinds=EVM, evm={"value_max": None}),
    allow(kinds=EVM, evm={"chain_ids": []}),
    allow(kinds=EVM, evm={"chain_ids": ["1"]}),
    allow(kinds=EVM, evm={"chain_ids": [True]}),
    allow(kinds=EVM, evm={"chain_ids": [0]}),
    allow(kinds=EVM, evm={"recipients": []}),
    allow(kinds=EVM, evm={"recipients": [TO[:-1]]}),
    allow(kinds=EVM, evm={"recipients": ["0x52908400098527886E0F7030069857D2E4169Ee7"]}),
    allow(kinds=EVM, evm={"recipients": None}),
    allow(kinds=EVM, evm={"contract_creation": "false"}),
    allow(kinds=EVM, evm={"contract_creation": 1}),
    allow(kinds=EVM, evm={"data": "all"}),
    allow(kinds=EVM, evm={"data": "any", "selectors": ["0xa9059cbb"]}),
    allow(kinds=EVM, evm={"selectors": []}),
    allow(kinds=EVM, evm={"selectors": ["a9059cbb"]}),
    allow(kinds=EVM, evm={"selectors": ["0xA9059CBB"]}),
    allow(kinds=SOLANA, evm={}),
    allow(kinds=EVM, solana={}),
    allow(kinds=SOLANA, solana={"recipients": [TO]}),
    allow(kinds=SOLANA, solana={"recipients": [MINT[:-1]]}),
    allow(kinds=SOLANA, solana={"tokens": []}),
    allow(kinds=SOLANA, solana={"tokens": "all"}),
    allow(kinds=SOLANA, solana={"tokens": [{"mint": MINT}, {"mint": MINT}]}),
    allow(kinds=SOLANA, solana={"tokens": [{"mint": MINT, "max": "1"}]}),
    allow(kinds=SOLANA, solana={"lamports_max": 5}),
    allow(kinds=SOLANA, solana={"instructions": "all"}),
    allow(kinds=EVM, digest="allow"),
    allow(kinds=["digest"], digest=True),
    allow(kinds=["digest"], digest="deny"),
    allow(kinds=EVM, plaintext_to_gateway="allow"),
    allow(kinds=["decrypt"], context={"tenant": ["a"]}),
    allow(kinds=["decrypt"], opened_in_enclave="allow"),
    allow(kinds=["decrypt"], opened_in_enclave="required", context={}),
    allow(kinds=["decrypt"], opened_in_enclave="required", context={"tenant": []}),
    allow(kinds=["decrypt"], opened_in_enclave="required", context={"tenant": "a"}),
    allow(kinds=["decrypt"], opened_in_enclave="required", context={"": ["a"]}),
    allow(kinds=["decrypt"], opened_in_enclave="required", context=["tenant"]),
    allow(kinds=["decrypt"], opened_in_enclave="required", context={str(n): ["a"] for n in range(33)}),
    allow(kinds=EVM, opened_in_enclave="required"),
    allow(kinds=["decrypt"], rewrap_to=[KEY]),
    allow(kinds=["rewrap"], rewrap_to=["key_x"]),
    allow(kinds=["rewrap"], rewrap_to=[]),
    deny(kinds=["decrypt"], opened_in_enclave="required"),
    deny(kinds=EVM, context={"tenant": ["a"]}),
    allow(kinds=EVM, paths=[]),
    allow(kinds=EVM, paths=["m/0", "m/0"]),
    allow(kinds=EVM, paths=["0/1"]),
    allow(kinds=EVM, paths=["m/0'"]),
    allow(kinds=EVM, paths=["m/01"]),
    allow(kinds=EVM, paths=["m" + "/0" * 17]),
    allow(kinds=EVM, paths="m/0"),
    allow(kinds=["decrypt"], paths=["m/0"]),
    deny(kinds=["decrypt"], paths=["m/0"]),
    allow(kinds=["message"], time={"from": "09:00"}),
    allow(kinds=["message"], time={"from": "9:00", "to": "10:00"}),
    allow(kinds=["message"], time={"from": "24:00", "to": "10:00"}),
    allow(kinds=["message"], time={"from": "10:00", "to": "10:00"}),
    allow(kinds=["message"], time={"days": ["monday"]}),
    allow(kinds=["message"], time={"days": []}),
    allow(kinds=["message"], time={"zone": "CET"}),
    deny(evm={"value_max": "1"}),
    deny(evm={"data": "any"}),
    deny(solana={"lamports_max": "1"}),
    deny(evm={}, solana={}),
    deny(digest="allow"),
    deny(kinds=["digest"], digest="allow"),
    deny(plaintext_to_gateway="allow"),
]


@pytest.mark.parametrize("rule", WRONG, ids=repr)
def test_a_wrong_rule_makes_the_policy_invalid(rule: Any) -> None:
    """Unknown, mistyped, empty and pointless conditions are refused when the policy is read."""
    with pytest.raises(PolicyError) as caught:
        Policy.of([rule])
    assert caught.value.code == "policy.malformed"


def test_names_are_unique_and_rules_bounded() -> None:
    """Two rules with one name, and more than 256 rules, are refused."""
    with pytest.raises(PolicyError):
        Policy.of([allow(kinds=EVM), deny("allow")])
    many = [deny(f"rule-{number}") for number in range(257)]
    with pytest.raises(PolicyError):
        Policy.of(many)
    assert len(Policy.of(many[:256]).rules) == 256


WORDS = st.sampled_from(["allow", "any", "1", TO, MINT, AGENT, KEY, "mon"])
NAMES = st.sampled_from(["chain_ids", "recipients", "value_max", "data", "tokens", "mint", "from", "to", "x"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner),
    max_leaves=6,
)
MEMBERS = st.sampled_from(
    ["name", "effect", "agents", "keys", "kinds", "evm", "solana", "time", "digest", "paths", "context", "rewrap_to"]
)


@given(st.dictionaries(MEMBERS, json_values), st.sampled_from(["allow", "deny"]))
def test_hostile_rules_only_raise_policy_errors(members: dict[str, Any], effect: str) -> None:
    """Rules with any values in known members are read or raise a PolicyError."""
    with contextlib.suppress(PolicyError):
        Policy.of([{"name": "a", "effect": effect, "kinds": ["evm_transaction", "solana_message"]} | members])
