"""Orders: whose signatures they need, how long they last, and refreshes that the roster orders by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from enclave.ceremonies.facts import Kind
from enclave.ceremonies.orders import CeremonyOrder, KeyRef, read_order, verify_order
from enclave.ids import new_id
from enclave.roster import OperatorEntry, Role, Roster
from enclave.roster_terms import RefreshTerms
from enclave.signing_key import SigningKey
from tests.enclave.ceremonies.driver import CeremonyWorld
from tests.enclave.node.codes import code_of


class ScheduledWorld(CeremonyWorld):
    """A roster that wants every key refreshed once an hour, spread over ten minutes."""

    def _roster(self) -> Roster:
        self.second = SigningKey.generate()
        roster = super()._roster()
        second = OperatorEntry(
            operator=new_id("opr"), name="another", key=self.second.public.key, roles=frozenset({Role.ADMIN})
        )
        return replace(
            roster,
            refresh=RefreshTerms(interval_s=3600, spread_s=600),
            quorum={"roster": 1, "rotate": 2},
            operators=(*roster.operators, second),
        )


@pytest.fixture
def scheduled(tmp_path: Path) -> Iterator[ScheduledWorld]:
    """Five nodes under that roster."""
    world = ScheduledWorld(tmp_path)
    world.ready()
    yield world
    world.stop()


def test_the_roster_orders_a_refresh_when_it_is_due(scheduled: ScheduledWorld) -> None:
    """Not before interval minus spread, then without any signature, and not again right after."""
    key = scheduled.create_key()
    scheduled.now += 2999 - (scheduled.now - key.since)
    scheduled.attest()
    early = scheduled.beginning("refresh", key, body=b"")
    assert code_of(scheduled.call, "node-1", "ceremony-start", early) == "order.not-due"
    scheduled.now += 2
    (after,) = scheduled.run(scheduled.beginning("refresh", key, body=b""))
    assert after.epoch == 2
    again = scheduled.beginning("refresh", after, body=b"")
    assert code_of(scheduled.call, "node-1", "ceremony-start", again) == "order.not-due"


def test_only_a_refresh_needs_no_order(scheduled: ScheduledWorld) -> None:
    """Nothing else is ever ordered by the roster."""
    key = scheduled.create_key()
    start = scheduled.beginning("rotate", key, body=b"")
    assert code_of(scheduled.call, "node-1", "ceremony-start", start) == "json.malformed"


def test_an_action_needs_its_quorum(scheduled: ScheduledWorld) -> None:
    """One administrator refreshes; this roster wants two for a rotation; others than administrators do not count."""
    key = scheduled.create_key()
    scheduled.call("node-1", "ceremony-start", scheduled.beginning("refresh", key))
    for signers in ((scheduled.operator,), (scheduled.operator, scheduled.auditor), (SigningKey.generate(),)):
        start = scheduled.beginning("rotate", key, signers=signers)
        assert code_of(scheduled.call, "node-1", "ceremony-start", start) == "order.quorum"
    both = scheduled.beginning("rotate", key, signers=(scheduled.operator, scheduled.second))
    scheduled.call("node-1", "ceremony-start", both)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"expires_at": 0}, "order.expired"),
        ({"issued_at": 120}, "order.expired"),
        ({"expires_at": 2 * 86_400}, "order.expired"),
        ({"cluster": bytes(32)}, "document.cluster"),
    ],
)
def test_orders_are_for_one_cluster_and_one_day(ready: CeremonyWorld, changes: dict[str, int], code: str) -> None:
    """Expired, from the future, valid for too long, or for others (times from now)."""
    key = ready.create_key()
    changes = {name: ready.now + value if isinstance(value, int) else value for name, value in changes.items()}
    start = ready.beginning("refresh", key, **changes)
    assert code_of(ready.call, "node-1", "ceremony-start", start) == code


def test_an_order_covers_exactly_what_it_names(ready: CeremonyWorld) -> None:
    """Another key, another action, or nothing at all is not covered."""
    key, other = ready.create_key(), ready.create_key(session=b"o" * 32)
    body = ready.ordered("refresh", key)
    for start in (
        ready.beginning("refresh", other, body=body),
        ready.beginning("refresh", key, other, body=body),
        ready.beginning("repair", key, body=body),
    ):
        assert code_of(ready.call, "node-1", "ceremony-start", start) == "ceremony.order"


def test_malformed_orders(ready: CeremonyWorld) -> None:
    """Doubled keys, no keys where some are needed, members of other actions."""
    key = ready.create_key()
    ref = KeyRef(key=key.key, version=1, epoch=1)
    fields = {"cluster": ready.roster.cluster_id, "order": new_id("op"), "issued_at": 1, "expires_at": 2}
    bad = [
        CeremonyOrder(action=Kind.REFRESH, keys=(), **fields),
        CeremonyOrder(action=Kind.REFRESH, keys=(ref, ref), **fields),
        CeremonyOrder(action=Kind.RESHARE, keys=(ref,), nodes=("a", "a"), shares_needed=2, **fields),
        CeremonyOrder(action=Kind.RESHARE, keys=(ref,), nodes=(), shares_needed=2, **fields),
        CeremonyOrder(action=Kind.DKG, keys=(ref,), **fields),
    ]
    for order in bad:
        assert code_of(read_order, order.sign(ready.operator)) == "order.malformed"
    assert code_of(verify_order, b"{}", ready.roster, ready.now) == "envelope.malformed"
