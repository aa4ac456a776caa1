"""Counters of budgets: never above the bound whoever chooses the signers, one chunk lost by a restart, one charge."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from attestation.errors import CodedError
from enclave.documents import PolicyDocument
from enclave.key_specs import Custody, Usage
from enclave.limits.budgets import CHUNKS, Bill, Budgets
from enclave.limits.node_limits import NodeLimits
from enclave.limits.windows import DAY_S, window_of
from enclave.seal import SealedStore
from enclave.tokens import Token
from tests.enclave.limits.kit import FREE, a_budget, a_payload, a_policy, a_store, a_token
from tests.enclave.node.codes import code_of
from tests.enclave.samples import AGENT, NOW, an_id
from tests.enclave.test_certificate import a_certificate

KEY = a_certificate(spec="secp256k1-ecdsa", usage=Usage.EVM, custody=Custody.RECONSTRUCT)
"""Three of five nodes."""
OTHER_KEY = a_certificate(
    key=an_id("key", 1), spec="secp256k1-ecdsa", usage=Usage.EVM, custody=Custody.RECONSTRUCT, shares_needed=2
)
"""Two of five nodes."""
NODES, CAP = 5, 10_000
IN_FLIGHT = 16
"""Requests whose calls reach the nodes in any order."""


def policy_of(**changes: Any) -> PolicyDocument:
    """A daily budget of CAP wei; nonces are somebody else's matter here."""
    version = changes.pop("version", 1)
    return a_policy(a_budget(cap=str(CAP), **changes), version=version, nonce_guard="off")


POLICY = policy_of()


def take(
    limits: NodeLimits, value: int, *, token: Token | None = None, policy: PolicyDocument = POLICY, key: Any = KEY,
    now: int = NOW,
) -> Token:  # fmt: skip
    """One node lets a transaction of `value` through; raises RefusedError."""
    token = token or a_token(now=now)
    payload = a_payload(value=str(value), **FREE)
    limits.take(limits.check(policy, key, token, "evm_transaction", payload, now))
    return token


class Cores:
    """The limits of five nodes, and among them some that refuse nothing."""

    def __init__(self, directory: Path, *, corrupt: int = 0) -> None:
        self.stores = [a_store(directory, f"node-{number}") for number in range(1, NODES + 1)]
        self.nodes = [NodeLimits(store, slots=NODES) for store in self.stores]
        self.corrupt = set(range(corrupt))

    def ask(self, number: int, value: int, **options: Any) -> bool:
        """Whether a node gives its share."""
        if number in self.corrupt:
            return True
        try:
            take(self.nodes[number], value, **options)
        except CodedError:
            return False
        return True

    def restart(self, number: int) -> None:
        """A node loses its memory and keeps its disk."""
        self.nodes[number] = NodeLimits(self.stores[number], slots=NODES)

    def close(self) -> None:
        """Close every store."""
        for store in self.stores:
            store.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SealedStore]:
    """One node's sealed store."""
    with tempfile.TemporaryDirectory() as directory:
        made = a_store(Path(directory))
        yield made
        made.close()


@pytest.fixture
def limits(store: SealedStore) -> NodeLimits:
    """One node's limits."""
    return NodeLimits(store, slots=NODES)


@pytest.mark.parametrize(
    ("corrupt", "strict", "bound"),
    [
        (0, 0, Fraction(CAP)),
        (1, 0, Fraction(CAP * 3 * 4, 5 * 2)),
        (2, 0, Fraction(CAP * 3 * 3, 5 * 1)),
        (1, 1, Fraction(CAP)),
        (2, 2, Fraction(CAP)),
    ],
)
def test_a_thousand_concurrent_requests_stay_within_the_bound(
    tmp_path: Path, corrupt: int, strict: int, bound: Fraction
) -> None:
    """The gateway chooses every signer set and the order in which nodes hear of requests; corrupt nodes help it."""
    cores = Cores(tmp_path, corrupt=corrupt)
    policy = policy_of(strict_against=strict)
    chance = random.Random(f"{corrupt} {strict}")
    requests = []
    for _ in range(1000):
        # Corrupt nodes refuse nothing, so the best sets hold all of them.
        members = list(range(corrupt)) + chance.sample(range(corrupt, NODES), 3 - corrupt)
        requests.append((a_token(), chance.choice([1, 7, 40, 133, 900]), members))
    calls = []
    for start in range(0, len(requests), IN_FLIGHT):
        together = [
            (token, value, number)
            for token, value, members in requests[start : start + IN_FLIGHT]
            for number in members
        ]
        chance.shuffle(together)
        calls += together
    given = {(token.request_id, number) for token, value, number in calls
             if cores.ask(number, value, token=token, policy=policy)}  # fmt: skip
    signed = [
        value for token, value, members in requests if all((token.request_id, number) in given for number in members)
    ]
    assert sum(signed) <= bound
    assert sum(signed) > CAP // 4  # the budget is usable: refusing everything would be no budget
    cores.close()


def test_the_bounds_are_reached(tmp_path: Path) -> None:
    """With honest nodes C can be spent to the last unit, with one corrupt node 1.2 C: the formulas are not slack."""
    cores = Cores(tmp_path)
    sets = [
        (0, 1, 2),
        (0, 1, 3),
        (0, 1, 4),
        (0, 2, 3),
        (0, 2, 4),
        (0, 3, 4),
        (1, 2, 3),
        (1, 2, 4),
        (1, 3, 4),
        (2, 3, 4),
    ]
    assert all(cores.ask(number, CAP // 10, token=token) for members in sets for token in [a_token()]
               for number in members)  # fmt: skip
    assert not any(cores.ask(number, 1) for number in range(NODES))
    cores.close()
    with tempfile.TemporaryDirectory() as directory:
        corrupted = Cores(Path(directory), corrupt=1)
        pairs = [(1, 2), (3, 4), (1, 3), (2, 4), (1, 4), (2, 3)]
        spent = sum(
            CAP // 5 for pair in pairs for token in [a_token()]
            if all(corrupted.ask(number, CAP // 5, token=token) for number in (0, *pair))
        )  # fmt: skip
        assert spent == CAP * 12 // 10
        corrupted.close()


class BudgetMachine(RuleBasedStateMachine):
    """Any interleaving of uses, replays, restarts, policy versions and passing days, with a hostile gateway."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.cores = Cores(Path(self.directory.name))
        self.now, self.version = NOW, 1
        self.sent: list[tuple[Token, int, tuple[int, ...], Any]] = []
        self.given: set[tuple[bytes, int]] = set()
        self.charged: list[dict[int, Fraction]] = [{} for _ in range(NODES)]
        """What each node was seen to take, by the newest window it had seen."""

    @initialize(per=st.sampled_from(["key", "agent", "policy"]))
    def begin(self, per: str) -> None:
        """Who shares the budget."""
        self.per = per

    def policy(self) -> PolicyDocument:
        """The newest version."""
        return policy_of(per=self.per, version=self.version)

    def ask(self, token: Token, value: int, members: tuple[int, ...], key: Any) -> None:
        """Send one request to some nodes."""
        for number in members:
            name = (token.request_id, number)
            if self.cores.ask(number, value, token=token, policy=self.policy(), key=key, now=self.now):
                if name not in self.given:
                    windows = self.charged[number]
                    newest = max(window_of("day", self.now).start, *windows, 0)
                    windows[newest] = windows.get(newest, Fraction(0)) + Fraction(value, key.signing_quorum)
                self.given.add(name)

    @rule(value=st.integers(1, CAP), members=st.permutations(range(NODES)), two=st.booleans())
    def use(self, value: int, members: list[int], two: bool) -> None:
        """A fresh request of either key to a set of the gateway's choice."""
        key = OTHER_KEY if two and self.per != "key" else KEY
        chosen = tuple(members[: key.signing_quorum])
        self.sent.append((a_token(now=self.now), value, chosen, key))
        self.ask(*self.sent[-1])

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """An earlier request again, to any nodes: nothing more is taken where it was taken."""
        if self.sent:
            token, value, _, key = data.draw(st.sampled_from(self.sent))
            if token.expires_at >= self.now:
                self.ask(token, value, tuple(data.draw(st.permutations(range(NODES)))[:3]), key)

    @rule(number=st.integers(0, NODES - 1))
    def restart(self, number: int) -> None:
        """A node forgets; tokens from before its boot are refused by step 1 of authorisation, so none is replayed."""
        self.cores.restart(number)
        self.sent.clear()

    @rule()
    def put_policy(self) -> None:
        """The next version of the same policy starts no new counter."""
        self.version += 1

    @rule(back=st.booleans())
    def pass_a_day(self, back: bool) -> None:
        """The window moves on; a clock that is set back after a restart opens no window again."""
        self.now += -DAY_S if back else DAY_S
        self.sent.clear()

    @invariant()
    def no_node_gives_more_than_its_part(self) -> None:
        """Sum over uses of v / s never exceeds C / n at an honest node, hence the sum of all v never C."""
        assert all(part <= Fraction(CAP, NODES) for windows in self.charged for part in windows.values())

    def teardown(self) -> None:
        """Remove what is on disk."""
        self.cores.close()
        self.directory.cleanup()


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


def test_a_restart_loses_at_most_one_chunk(store: SealedStore, limits: NodeLimits) -> None:
    """What is left after a restart is what was left before, less than one sixteenth of the allowance off."""
    allowance, spent = CAP * 3 // 5, 0
    chance = random.Random(1)
    for _ in range(40):
        value = chance.randint(1, 300)
        if spent + value > allowance:
            break
        take(limits, value)
        spent += value
        restarted = NodeLimits(store, slots=NODES)
        left = allowance - spent
        lost = allowance // CHUNKS + 1
        if left > lost:
            restarted.check(POLICY, KEY, a_token(), "evm_transaction", a_payload(value=str(left - lost), **FREE), NOW)
        assert code_of(take, restarted, left + 1) == "budget.exceeded"


def test_marks_are_written_sixteen_times_at_most(store: SealedStore, limits: NodeLimits) -> None:
    """Many small uses write a row only when a chunk is used up."""
    written: list[str] = []
    put = store.put

    def counted(kind: str, name: str, value: bytes | memoryview) -> None:
        written.append(name)
        put(kind, name, value)

    store.put = counted  # type: ignore[method-assign]
    for _ in range(600):
        take(limits, 10)
    assert len(written) == CHUNKS
    assert code_of(take, limits, 1) == "budget.exceeded"


def test_a_request_is_charged_once(limits: NodeLimits) -> None:
    """Three attempts of one request take its value once; a fresh request with the same body takes it again."""
    token = take(limits, 3000)
    for _ in range(2):
        take(limits, 3000, token=token)
    take(limits, 3000)
    assert code_of(take, limits, 1) == "budget.exceeded"
    take(limits, 3000, token=token)  # paid for: refusing it now would only waste what was taken


def test_one_use_never_exceeds_the_allowance(limits: NodeLimits) -> None:
    """Above A the answer says that waiting does not help."""
    assert code_of(take, limits, CAP * 3 // 5 + 1) == "budget.max-single"
    take(limits, CAP * 3 // 5)


def test_windows_begin_anew_and_never_come_back(store: SealedStore, limits: NodeLimits) -> None:
    """At midnight UTC there is a fresh allowance; a clock set back afterwards finds the newest window, used up."""
    end = window_of("day", NOW).end
    take(limits, 6000, now=end - 1)
    assert code_of(take, limits, 1, now=end - 1) == "budget.exceeded"
    take(limits, 6000, now=end)
    for node in (limits, NodeLimits(store, slots=NODES)):
        assert code_of(take, node, 1, now=end - 1) == "budget.exceeded"
        assert code_of(take, node, 1, now=end) == "budget.exceeded"


def test_counters_belong_to_subject_and_name(limits: NodeLimits) -> None:
    """Versions and agents share a key's budget; another key, name or asset counts for itself."""
    take(limits, 6000)
    assert code_of(take, limits, 1, policy=policy_of(version=2)) == "budget.exceeded"
    assert code_of(take, limits, 1, token=a_token(an_id("agt", 3))) == "budget.exceeded"
    take(limits, 4000, key=OTHER_KEY)
    take(limits, 6000, policy=policy_of(name="other"))
    per_agent = policy_of(per="agent")
    take(limits, 6000, policy=per_agent)
    assert code_of(take, limits, 1, policy=per_agent, key=OTHER_KEY) == "budget.exceeded"
    take(limits, 6000, policy=per_agent, token=a_token(an_id("agt", 3)))
    assert limits.budgets.counters("pol_")[0].startswith("pol_")
    assert any(name.endswith(AGENT) for name in limits.budgets.counters(""))


def test_two_budgets_are_taken_from_together_or_not_at_all(limits: NodeLimits) -> None:
    """A request that one budget refuses takes nothing of the other."""
    both = a_policy(
        a_budget(cap=str(CAP)), a_budget(name="monthly", window="month", cap=str(2 * CAP)), nonce_guard="off"
    )
    end = window_of("day", NOW).end
    take(limits, 6000, policy=both)
    for _ in range(3):
        assert code_of(take, limits, 1000, policy=both) == "budget.exceeded"
    take(limits, 6000, policy=both, now=end)
    assert code_of(take, limits, 1, policy=both, now=end + DAY_S) == "budget.exceeded"


def test_full_means_refuse_until_windows_end(store: SealedStore) -> None:
    """Counters of windows that are over make room, those that still count never do."""
    budgets = Budgets(store, counters_max=2)

    def pay(counter: str, now: int) -> None:
        bill = Bill(counter=counter, budget="b", amount=1, limit=16, window=window_of("day", now))
        budgets.check([bill], b"r" * 32, now)
        budgets.charge([bill], b"r" * 32, now + 60)

    pay("a", NOW)
    pay("b", NOW)
    assert code_of(pay, "c", NOW) == "budget.full"
    pay("c", NOW + DAY_S)
    assert [name for name, _ in store.items("budget")] == ["c"]


def test_a_mark_of_another_form_stops_the_node(store: SealedStore) -> None:
    """A row that does not have its form is never read as an empty counter."""
    store.put("budget", "x", b"short")
    assert code_of(Budgets, store) == "storage.form"
