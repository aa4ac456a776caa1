"""An event loop without a world: its clock is virtual, its order is seeded, and its callbacks belong to machines.

Rules kept: time passes only while nothing is ready, and then jumps to the next timer; callbacks of one machine run
in the order they were scheduled, those of different machines in a seeded order; what belongs to a machine that has
crashed never runs again.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tests.simulation.clocks import Machine


class Connector(Protocol):
    """Whoever makes connections (tests.simulation.network)."""

    def connect(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> Any:
        """A coroutine that gives transport and protocol."""


MACHINE: contextvars.ContextVar[Machine | None] = contextvars.ContextVar("machine", default=None)
"""Whose code is running."""

CALLBACKS_MAX = 400_000
"""Callbacks per timeline after which it counts as stuck: ten times what the longest ones need."""


class StuckError(AssertionError):
    """A timeline makes callbacks without an end."""


class SimLoop(asyncio.BaseEventLoop):
    """Runs callbacks until a virtual time, or until a future is done."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._now = 0.0
        self.rng = random.Random(seed)
        self.connector: Connector | None = None
        self.callbacks = 0
        self.errors: list[dict[str, Any]] = []
        """What the loop itself met: exceptions in callbacks and tasks nobody awaited."""
        self.set_exception_handler(lambda _loop, context: self.errors.append(context))

    def __del__(self) -> None:
        """There is nothing that would have to be closed."""

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def run_for(self, seconds: float) -> None:
        """Let that much virtual time pass."""
        self._drive(self._now + seconds, None)

    def run_until(self, future: asyncio.Future[Any], limit: float = 600.0) -> Any:
        """Run until `future` is done; raises TimeoutError after `limit` virtual seconds."""
        self._drive(self._now + limit, future)
        if not future.done():
            raise TimeoutError(f"not done after {limit} virtual seconds")
        return future.result()

    def spawn(self, machine: Machine | None, work: Any, name: str | None = None) -> asyncio.Task[Any]:
        """A task that belongs to a machine."""
        context = contextvars.copy_context()
        context.run(MACHINE.set, machine)
        return asyncio.Task(work, loop=self, context=context, name=name)

    def inject(self, machine: Machine | None, delay: float, callback: Callable[..., object], *arguments: Any) -> None:
        """Have `callback` run on a machine after `delay` seconds."""
        context = contextvars.Context()
        context.run(MACHINE.set, machine)
        self.call_at(self._now + delay, callback, *arguments, context=context)

    # --- what asyncio asks of a loop -------------------------------------------------------------------

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """At once, in this thread; the answer comes a moment later."""
        del executor
        future = self.create_future()
        try:
            value = func(*args)
        except Exception as error:
            self.call_later(0.0005, _fail, future, error)
        else:
            self.call_later(0.0005, _settle, future, value)
        return future

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int, **_options: Any
    ) -> Any:
        """Through the simulated network."""
        assert self.connector is not None
        return await self.connector.connect(protocol_factory, host, port)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """There are no threads."""
        return self.call_soon(callback, *args, context=context)

    def _process_events(self, event_list: Any) -> None:
        raise AssertionError("this loop has no selector")

    # --- the turns -------------------------------------------------------------------------------------

    def _drive(self, until: float, future: asyncio.Future[Any] | None) -> None:
        asyncio._set_running_loop(self)
        try:
            while future is None or not future.done():
                if self._ready:  # type: ignore[attr-defined]
                    self._turn()
                    continue
                while self._scheduled and self._scheduled[0]._cancelled:  # type: ignore[attr-defined]
                    heapq.heappop(self._scheduled)._scheduled = False  # type: ignore[attr-defined]
                if not self._scheduled or self._scheduled[0]._when > until:  # type: ignore[attr-defined]
                    break
                self._now = max(self._now, self._scheduled[0]._when)  # type: ignore[attr-defined]
                while self._scheduled and self._scheduled[0]._when <= self._now:  # type: ignore[attr-defined]
                    handle = heapq.heappop(self._scheduled)  # type: ignore[attr-defined]
                    handle._scheduled = False
                    self._ready.append(handle)  # type: ignore[attr-defined]
            if future is None or not future.done():
                self._now = max(self._now, until)
        finally:
            asyncio._set_running_loop(None)

    def _turn(self) -> None:
        handles = list(self._ready)  # type: ignore[attr-defined]
        self._ready.clear()  # type: ignore[attr-defined]
        if len(handles) > 1:
            handles = self._ordered(handles)
        self.callbacks += len(handles)
        if self.callbacks > CALLBACKS_MAX:
            raise StuckError(f"more than {CALLBACKS_MAX} callbacks")
        for handle in handles:
            if handle._cancelled:
                continue
            machine = handle._context.get(MACHINE)
            if machine is not None:
                if machine.is_dead:
                    continue
                machine.spent = 0.0
            handle._run()

    def _ordered(self, handles: list[Any]) -> list[Any]:
        """Machines in a seeded order, each one's callbacks in theirs."""
        groups: dict[Any, list[Any]] = {}
        for handle in handles:
            groups.setdefault(handle._context.get(MACHINE), []).append(handle)
        if len(groups) == 1:
            return handles
        order = list(groups.values())
        self.rng.shuffle(order)
        return [handle for group in order for handle in group]


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
