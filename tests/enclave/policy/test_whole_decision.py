"""The quick decision is the one that the explanation of every rule leads to, for any rules and requests."""

from __future__ import annotations

from typing import Any

from eth_abi import encode
from hypothesis import given
from hypothesis import strategies as st

from enclave.policy import Decision, Policy, Request, evaluate
from tests.enclave.policy.requests import OTHER, TO, allow, decrypt, deny, evm, message

ADDRESSES = [TO, OTHER, "0x" + "a1" * 20]
TRANSFER = "0xa9059cbb" + encode(["address", "uint256"], [OTHER, 7]).hex()
addresses = st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=2, unique=True)

allowing = st.fixed_dictionaries(
    {},
    optional={
        "chain_ids": st.sampled_from([[1], [5], [1, 5]]),
        "recipients": addresses,
        "value_max": st.sampled_from(["0", "1000"]),
        "data": st.sampled_from(["none", "any"]),
        "contract_creation": st.booleans(),
        "tokens": addresses.map(lambda found: [{"token": one} for one in found]),
    },
)
denying = st.fixed_dictionaries(
    {},
    optional={
        "chain_ids": st.sampled_from([[1], [5]]),
        "recipients": addresses,
        "selectors": st.just(["0xa9059cbb"]),
    },
)
calls = st.sampled_from([None, [{"contract": TO, "function": "transfer(address,uint256)"}]])
asks = st.sampled_from([None, {"group": "a", "minimum": 1}, {"group": "b", "minimum": 2}])
kinds = st.sampled_from([["evm_transaction"], ["evm_transaction", "message"], ["message"]])


@st.composite
def rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A policy: rules of both effects in any order."""
    made: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            members: dict[str, Any] = {"kinds": draw(kinds)}
            if "evm_transaction" in members["kinds"]:
                members["evm"] = draw(allowing)
                found = draw(calls)
                if found is not None and "tokens" not in members["evm"]:
                    members["evm"]["calls"] = found
            approvals = draw(asks)
            made.append(allow(f"r{number}", **members, **({"approvals": approvals} if approvals else {})))
        else:
            made.append(deny(f"r{number}", evm=draw(denying)))
    return made


requests = st.one_of(
    st.builds(
        lambda to, chain, value, data: evm(to=to, chain_id=chain, value=value, data=data),
        st.sampled_from(ADDRESSES),
        st.sampled_from([1, 5]),
        st.sampled_from(["0", "5000"]),
        st.sampled_from(["0x", TRANSFER, "0x01"]),
    ),
    st.sampled_from([evm(to=None, data="0x01"), message(), decrypt(recipient=True)]),
)


def stated(found: Decision, policy: Policy, request: Request) -> tuple[bool, str | None, bool]:
    """The decision by definition (specs/policy.md section 6), from how each rule was traced."""
    matched = [rule for rule, trace in zip(policy.rules, found.traces, strict=True) if trace.matched]
    for rule in matched:
        if rule.denies:
            return False, rule.name, False
    waits = [rule.approvals is not None and rule.approvals.needed(request.kind, request.payload) for rule in matched]
    for rule, asked in sorted(zip(matched, waits, strict=True), key=lambda pair: pair[1]):
        return not asked, rule.name, asked
    return False, None, False


@given(rules(), requests)
def test_the_decision_follows_from_its_explanation(written: list[dict[str, Any]], request_made: Request) -> None:
    """What shortcuts leave out never changes who decides, nor how."""
    policy = Policy.of(written)
    found = evaluate(policy, request_made)
    assert (found.allowed, found.rule, found.approvals is not None) == stated(found, policy, request_made)
