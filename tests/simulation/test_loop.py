"""The virtual loop and clocks: what every other result rests on."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.clocks import Host, Machine
from tests.simulation.loop import CALLBACKS_MAX, MACHINE, SimLoop, StuckError


def test_time_passes_only_while_nothing_is_ready() -> None:
    """An hour of sleeping takes no time, and ends at its very second."""
    loop = SimLoop(1)

    async def sleeps() -> float:
        await asyncio.sleep(3600.0)
        return loop.time()

    assert loop.run_until(loop.spawn(None, sleeps()), limit=7200.0) == 3600.0


def test_what_belongs_to_a_dead_machine_never_runs() -> None:
    """Timers and tasks of a crashed machine are gone, those of another go on."""
    loop, ran = SimLoop(1), []
    dead, alive = Machine(Host("one", loop)), Machine(Host("two", loop))

    async def works(machine: Machine) -> None:
        await asyncio.sleep(1.0)
        ran.append(MACHINE.get() is machine and machine.host.name)

    loop.spawn(dead, works(dead))
    loop.spawn(alive, works(alive))
    loop.run_for(0.5)
    dead.is_dead = True
    loop.run_for(1.0)
    assert ran == ["two"]


def test_the_order_of_machines_is_seeded() -> None:
    """Callbacks of one instant come in an order that the seed fixes and that other seeds change."""

    def order(seed: int) -> tuple[str, ...]:
        ran: list[str] = []
        loop = SimLoop(seed)
        for name in "abcdefgh":
            loop.inject(Machine(Host(name, loop)), 1.0, ran.append, name)
        loop.run_for(2.0)
        return tuple(ran)

    assert order(7) == order(7)
    assert len({order(seed) for seed in range(5)}) > 1


def test_one_machine_keeps_its_order() -> None:
    """Callbacks of one machine run as they were scheduled."""
    ran: list[int] = []
    loop = SimLoop(3)
    machine, other = Machine(Host("one", loop)), Machine(Host("two", loop))

    def schedule() -> None:
        for number in range(50):
            loop.call_soon(ran.append, number)

    loop.inject(other, 1.0, list)
    loop.inject(machine, 1.0, schedule)
    loop.run_for(2.0)
    assert ran == list(range(50))


def test_a_timeline_without_an_end_is_noticed() -> None:
    """A callback that schedules itself for ever raises instead of hanging."""
    loop = SimLoop(1)

    def again() -> None:
        loop.call_soon(again)

    loop.call_soon(again)
    with pytest.raises(StuckError):
        loop.run_for(1.0)
    assert loop.callbacks >= CALLBACKS_MAX


def test_clocks_move_apart() -> None:
    """A wall clock that is moved moves alone; a monotonic clock shows its own jump and no more."""
    loop = SimLoop(1)
    one, two = Host("one", loop), Host("two", loop)
    first, second = Machine(one), Machine(two)
    one.wall_offset -= 7200.0
    assert second.wall() - first.wall() == 7200.0
    assert first.steady() == second.steady()
    two.boot_offset += 600.0
    assert second.steady() - first.steady() == 600.0
    assert second.wall() - first.wall() == 7200.0
