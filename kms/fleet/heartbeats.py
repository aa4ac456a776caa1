"""Carries heartbeats between nodes every two seconds: without it they stop working within ten (specs/heartbeats.md).

The exchange waits for nothing else this program does, and no node that is slow holds up the others.  What is
carried is signed and sealed off from this program: withheld, repeated or reordered heartbeats can only stop nodes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

from enclave.errors import WireError
from enclave.heartbeats.bounds import INTERVAL_S
from enclave.wire.heartbeats import Heartbeat, HeartbeatReply, HeartbeatsReply, HeartbeatsRequest, SignedHeartbeat
from enclave.wire.message import Empty, decode_as
from kms.errors import KmsError
from kms.fleet.fleet import Fleet
from kms.fleet.link import NodeLink
from kms.fleet.running import keep_running
from kms.observe import logger

JITTER = 0.1
"""Part of the interval by which rounds are spread, so that several gateways do not beat together."""

GATHER_S = 0.25
"""How long a round waits for nodes before it goes on with those that answered; the others' go with the next."""

CALL_TIMEOUT_S = 1.5
"""A node that needs longer to sign one message is not well."""

SOON_S = 0.2
"""Pause between rounds while a node is not at work that could be."""

SOON_MAX = 50
"""Such rounds in a row before the pause is the usual one: ten seconds, a lease."""


class HeartbeatRelay:
    """Runs until closed; `hurry` makes it look at once."""

    def __init__(self, fleet: Fleet, *, interval_s: float = INTERVAL_S) -> None:
        self.interval_s = interval_s
        self._fleet = fleet
        self._newest: dict[str, tuple[int, SignedHeartbeat]] = {}
        """By slot: the connection it came over, and the heartbeat."""
        self._wake = asyncio.Event()
        self._soon = SOON_MAX
        self._pending: set[asyncio.Future[Any]] = set()
        self.on_heartbeat: list[Callable[[SignedHeartbeat], None]] = []
        """Told of every heartbeat as it comes: a peer's echo countersigns a log."""
        self._task: asyncio.Task[None] | None = None
        self._exchanging: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Begin to relay."""
        self._fleet.exchange = self.exchange
        self._fleet.on_up.append(lambda link: self.hurry())  # noqa: ARG005  who came up does not matter
        self._task = keep_running("heartbeats", self._run)

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def hurry(self) -> None:
        """Something changed: exchange at once, and a few times more."""
        self._soon = SOON_MAX
        self._wake.set()

    async def exchange(self) -> None:
        """Two rounds now, one for all who ask at once: what a node tells is acknowledged to it in the second."""
        if self._exchanging is None or self._exchanging.done():
            self._exchanging = asyncio.ensure_future(self._twice())
        await asyncio.shield(self._exchanging)

    async def _twice(self) -> None:
        await self._round()
        await self._round()

    def latest(self, slot: str) -> Heartbeat | None:
        """A connected node's newest heartbeat as it says itself; informative."""
        generation, signed = self._newest.get(slot, (-1, None))
        if signed is None or not self._is_current(slot, generation):
            return None
        try:
            return decode_as(Heartbeat, signed.body)
        except WireError:
            return None

    def _is_current(self, slot: str, generation: int) -> bool:
        link = self._fleet.links.get(slot)
        return link is not None and link.connected and link.generation == generation

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            await self._round()
            pause = self.interval_s * random.uniform(1 - JITTER, 1)  # noqa: S311  spreads load, guards nothing
            if self._soon > 0 and any(link.refuses for link in self._fleet.connected):
                self._soon -= 1
                pause = min(SOON_S, pause)
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> None:
        """Ask every node for its heartbeat, then give every node those of the others."""
        links = list(self._fleet.connected)
        asked = [link.call("heartbeat", Empty(), timeout_s=CALL_TIMEOUT_S) for link in links]
        for link, answer in zip(links, asked, strict=True):
            answer.add_done_callback(partial(self._note, link, link.generation))
        if asked:
            await asyncio.wait(asked, timeout=GATHER_S)
        for link in links:
            others = [
                signed
                for slot, (generation, signed) in self._newest.items()
                if slot != link.slot and self._is_current(slot, generation)
            ]
            if others and link.connected:
                given = link.call("heartbeats", HeartbeatsRequest(heartbeats=others), timeout_s=CALL_TIMEOUT_S)
                given.add_done_callback(partial(self._given, link))
                self._pending.add(given)

    def _note(self, link: NodeLink, generation: int, answer: asyncio.Future[Any]) -> None:
        if answer.cancelled() or isinstance(answer.exception(), KmsError) or link.generation != generation:
            return
        reply = answer.result()
        assert isinstance(reply, HeartbeatReply)
        self._newest[link.slot] = (generation, reply.heartbeat)
        for listener in self.on_heartbeat:
            listener(reply.heartbeat)
        if reply.refuses != link.refuses:
            logger().info("node-works" if not reply.refuses else "node-refuses", slot=link.slot, code=reply.refuses)
            if reply.refuses:
                self._soon = SOON_MAX
            self._look()
        link.refuses, link.why = reply.refuses, reply.detail

    def _look(self) -> None:
        """A node began or ceased to work: whom its peers hear has changed."""
        task = asyncio.ensure_future(self._fleet.refresh_verdicts([link.slot for link in self._fleet.connected]))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    def _given(self, link: NodeLink, answer: asyncio.Future[Any]) -> None:
        self._pending.discard(answer)
        if answer.cancelled() or isinstance(answer.exception(), KmsError):
            return
        reply = answer.result()
        assert isinstance(reply, HeartbeatsReply)
        for refusal in reply.refused:
            logger().debug("heartbeat-refused", slot=link.slot, peer=refusal.slot, code=refusal.code)
