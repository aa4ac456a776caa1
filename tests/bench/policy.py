"""What one decision costs a node: a policy of fifty rules on an EVM transaction, the one that allows it last.

Evaluation reads every rule, because a deny rule wins wherever it stands; so the place of the rule that matches hardly
matters.  Parsing the transaction is measured beside it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from enclave.payload.sign import parse_sign_body
from enclave.policy import Policy, Request, evaluate
from tests.enclave.payload.test_tokens import call
from tests.enclave.policy.requests import allow, deny
from tests.enclave.samples import AGENT, KEY, NOW, an_id

RULES = 50
GOAL_US = 100.0
"""Most microseconds of a node for one decision."""

BATCH, BATCHES = 200, 15
TOKEN, PAYEE = "0x" + "a1" * 20, "0x" + "b2" * 20
ROUTER, SWAP = "0x" + "7a" * 20, "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCosts:
    """Microseconds of processor time."""

    parse_us: float
    payment_us: float
    """Evaluating the policy on a plain payment."""
    token_us: float
    """On a token transfer."""
    call_us: float
    """On a call whose arguments are decoded."""

    @property
    def worst_us(self) -> float:
        """The slowest of the decisions."""
        return max(self.payment_us, self.token_us, self.call_us)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"policy of {RULES} rules on an EVM transaction: {self.payment_us:.0f} us for a payment,"
            f" {self.token_us:.0f} us for a token transfer, {self.call_us:.0f} us for a call with decoded arguments,"
            f" at most {GOAL_US:.0f} us wanted (reading the request itself: {self.parse_us:.0f} us)",
        ]


def rules() -> list[dict[str, Any]]:
    """Fifty rules as an operator with many agents, chains and counterparties would have them."""
    made: list[dict[str, Any]] = [
        deny("sanctioned", evm={"recipients": [address(number) for number in range(1000, 1400)]}),
        deny("no-approvals-for-all", evm={"selectors": ["0xa22cb465"]}),
        deny("closed-at-weekends", time={"days": ["sat", "sun"]}, agents=[an_id("agt", 9)]),
    ]
    for number in range(RULES - len(made) - 3):
        evm: dict[str, Any] = {
            "chain_ids": [1, 10, 8453],
            "recipients": [address(100 * number + one) for one in range(20)],
            "value_max": "1000000",
            "fee_max": "1000000000000000",
        }
        if number % 3 == 0:
            evm |= {"tokens": [{"token": address(number), "amount_max": "5"}]}
        made.append(allow(f"counterparty-{number}", kinds=["evm_transaction", "eip712"], evm=evm))
    args = [{"at": [0, 0], "in": [TOKEN]}, {"at": [0, 3], "in": [PAYEE]}, {"at": [0, 4], "max": "1000"}]
    last = {"chain_ids": [1], "value_max": "1000"}
    swaps = last | {"calls": [{"contract": ROUTER, "function": SWAP, "args": args}]}
    payroll = last | {"recipients": [TOKEN], "tokens": [{"token": TOKEN, "recipients": [PAYEE]}]}
    return [
        *made,
        allow("swaps", kinds=["evm_transaction"], evm=swaps),
        allow("payroll", kinds=["evm_transaction"], evm=payroll),
        allow("payments", kinds=["evm_transaction"], evm=last | {"recipients": [PAYEE]}),
    ]


def address(number: int) -> str:
    """One of many addresses."""
    return f"0x{number + 1:040x}"


def body(**changes: Any) -> bytes:
    """A sign request."""
    transaction = {
        "type": 2, "chain_id": 1, "nonce": 7, "gas": 60000, "to": PAYEE, "value": "5", "data": "0x",
        "max_fee_per_gas": "1000000000", "max_priority_fee_per_gas": "1",
    }  # fmt: skip
    return json.dumps({"kind": "evm_transaction", "transaction": transaction | changes}).encode()


def measure() -> PolicyCosts:
    """All figures, in this process."""
    policy = Policy.of(rules())
    assert len(policy.rules) == RULES
    words = [TOKEN, address(1), 3000, PAYEE, 1000, 1, 0]
    swap = bytes.fromhex("04e45aaf") + b"".join(
        (int(word, 16) if isinstance(word, str) else word).to_bytes(32, "big") for word in words
    )
    bodies = {
        "payments": body(),
        "payroll": body(to=TOKEN, value="0", data="0x" + call("transfer(address,uint256)", PAYEE, 7).hex()),
        "swaps": body(to=ROUTER, value="0", data="0x" + swap.hex()),
    }
    found = {}
    for rule, content in bodies.items():
        payload = parse_sign_body(content, "evm", "secp256k1-ecdsa")
        request = Request(agent=AGENT, key=KEY, kind=payload.kind, payload=payload, now=NOW)
        assert evaluate(policy, request).rule == rule
        found[rule] = _microseconds(lambda request=request: evaluate(policy, request))
    return PolicyCosts(
        parse_us=_microseconds(lambda: parse_sign_body(bodies["payroll"], "evm", "secp256k1-ecdsa")),
        payment_us=found["payments"],
        token_us=found["payroll"],
        call_us=found["swaps"],
    )


def _microseconds(work: Callable[[], Any]) -> float:
    """Processor time of one call, median of batches."""
    times = []
    for _ in range(BATCHES):
        start = time.process_time()
        for _ in range(BATCH):
            work()
        times.append((time.process_time() - start) / BATCH * 1e6)
    return statistics.median(times)


if __name__ == "__main__":
    print("\n".join(measure().lines()))
