"""What time it is on each machine, and which machine asks.

Rules kept: nothing under simulation sees the real clock; each host's wall clock and monotonic clock can be moved
apart from all others and from each other; a monotonic clock never goes back.
"""

from __future__ import annotations

import time
from typing import Any

from tests.simulation.loop import MACHINE, SimLoop

EPOCH = 2_000_000_000
"""Unix time at which every timeline begins."""

LOOK_S = 0.0002
"""Seconds that pass on a machine between two looks at its clock in one callback: slices of long work end."""


class Host:
    """A computer: its name and its clocks, which outlast the programs on it."""

    def __init__(self, name: str, loop: SimLoop) -> None:
        self.name = name
        self.loop = loop
        self.wall_offset = 0.0
        self.boot_offset = 1000.0
        """What its monotonic clock shows beyond the virtual time; never lowered."""


class Machine:
    """One run of one program on a host; dead ones never run again."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.is_dead = False
        self.spent = 0.0

    def wall(self) -> float:
        """Unix seconds as this machine believes them."""
        return EPOCH + self.host.loop.time() + self.host.wall_offset

    def monotonic(self) -> float:
        """Seconds by a clock nobody sets back."""
        self.spent += LOOK_S
        return self.steady() + self.spent

    def steady(self) -> float:
        """As `monotonic`, without the cost of looking."""
        return self.host.boot_offset + self.host.loop.time()

    def __repr__(self) -> str:
        return f"<Machine {self.host.name}>"


class Clock:
    """Replaces the process's clocks; once installed, they stay."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def install(self) -> None:
        """Everything that reads a clock through the module `time` reads the virtual one from now on."""
        module: Any = time
        module.time = self._time
        module.monotonic = self._monotonic
        module.perf_counter = self._monotonic
        module.clock_gettime = lambda _clock: self._monotonic()

    def _time(self) -> float:
        machine = MACHINE.get()
        return machine.wall() if machine is not None else EPOCH + self._loop.time()

    def _monotonic(self) -> float:
        machine = MACHINE.get()
        return machine.monotonic() if machine is not None else 1000.0 + self._loop.time()
