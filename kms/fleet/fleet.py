"""All links of a cluster, what their nodes think of each other, and who can take part now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from enclave.roster import Roster
from enclave.wire.attestation import VerdictsReply
from enclave.wire.message import Empty
from kms.errors import KmsError, LinkError
from kms.fleet.link import NodeLink
from kms.fleet.nonces import NoncePool
from kms.fleet.running import keep_running
from kms.fleet.selection import choose
from kms.fleet.verdicts import VerdictTable

REFRESH_S = 10.0
"""How often nonce pools are looked over, in seconds: well below the age at which their content is dropped."""

VERDICTS_TIMEOUT_S = 2.0
"""A node that does not even tell its table in this time is not asked to sign if others can."""


class Fleet:
    """The nodes of one roster."""

    def __init__(self, roster: Roster, *, clock: Callable[[], int] = lambda: int(time.time())) -> None:
        self.roster = roster
        self.clock = clock
        self.verdicts = VerdictTable()
        self.on_up: list[Callable[[NodeLink], None]] = []
        """Called when a node answers on a new connection."""
        self.on_down: list[Callable[[NodeLink], None]] = []
        self.links = {
            entry.slot: NodeLink(entry.slot, entry.url, on_up=self._up, on_down=self._down) for entry in roster.slots
        }
        self._nonces: dict[tuple[str, str], NoncePool] = {}
        self.exchange: Callable[[], Awaitable[None]] = _nothing
        """Carries heartbeats at once (set by the heartbeat relay)."""
        self.recheck: Callable[[Iterable[str]], None] = lambda slots: None  # noqa: ARG005  set by the attestation relay
        """Asks for fresh evidence between nodes after one of them refused for lack of trust."""
        self._refresher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect to every node."""
        for link in self.links.values():
            link.start()
        self._refresher = keep_running("nonce-refresh", self._refresh)

    def follow(self, roster: Roster) -> list[NodeLink]:
        """Take another roster's slots; returns the links that ended, for the caller to close.  Started links stay."""
        self.roster = roster
        wanted = {entry.slot: entry.url for entry in roster.slots}
        ended = [link for link in self.links.values() if wanted.get(link.slot) != link.url]
        for link in ended:
            del self.links[link.slot]
            for name in [name for name in self._nonces if name[0] == link.slot]:
                del self._nonces[name]
        for slot, url in wanted.items():
            if slot not in self.links:
                self.links[slot] = NodeLink(slot, url, on_up=self._up, on_down=self._down)
                if self._refresher is not None:
                    self.links[slot].start()
        return ended

    async def close(self) -> None:
        """Leave every node."""
        if self._refresher is not None:
            self._refresher.cancel()
            await asyncio.gather(self._refresher, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in self.links.values()))

    def nonces(self, slot: str, suite: str) -> NoncePool:
        """The unused nonce commitments of a node; the pool exists once it is asked for."""
        pool = self._nonces.get((slot, suite))
        if pool is None:
            pool = self._nonces[slot, suite] = NoncePool(self.links[slot], suite)
        return pool

    @property
    def connected(self) -> list[NodeLink]:
        """Links whose node answers."""
        return [link for link in self.links.values() if link.connected]

    def trusting(self) -> list[str]:
        """A large set of nodes that all trust each other (found greedily)."""
        now = self.clock()
        usable = [slot for slot, link in self.links.items() if link.usable]
        degree = {slot: sum(self.verdicts.mutual(slot, other, now) for other in usable) for slot in usable}
        members: list[str] = []
        for slot in sorted(usable, key=lambda slot: -degree[slot]):
            if all(self.verdicts.mutual(slot, other, now) for other in members):
                members.append(slot)
        return members

    def choose(
        self,
        holders: Sequence[str],
        needed: int,
        *,
        excluded: Collection[str] = (),
        preferred: Collection[str] = (),
        trusting: Collection[str] = (),
    ) -> list[str]:
        """`needed` of the `holders` that can work together now; see kms.fleet.selection.choose.

        `trusting` are further nodes (an assembler) that every chosen one must trust and be trusted by.
        """
        now = self.clock()
        candidates = [
            slot
            for slot in holders
            if slot not in excluded
            and slot in self.links
            and self.links[slot].usable
            and all(self.verdicts.mutual(slot, other, now) for other in trusting)
        ]
        return choose(
            candidates,
            needed,
            weight=lambda slot: (self.links[slot].suspect, self.links[slot].in_flight),
            compatible=lambda one, other: self.verdicts.mutual(one, other, now),
            preferred=preferred,
        )

    async def refresh_verdicts(self, slots: Iterable[str]) -> None:
        """Read the verdict tables of some nodes anew; a node that does not answer in time is suspect."""
        links = [self.links[slot] for slot in slots]
        answers = await asyncio.gather(
            *(link.call("verdicts", Empty(), timeout_s=VERDICTS_TIMEOUT_S) for link in links), return_exceptions=True
        )
        for link, answer in zip(links, answers, strict=True):
            if isinstance(answer, VerdictsReply):
                self.verdicts.replace(link.slot, answer.verdicts)
                link.note_answer()
            elif isinstance(answer, LinkError) and answer.code == "node-timeout":
                link.note_timeout()
            elif not isinstance(answer, KmsError):
                raise answer

    def _up(self, link: NodeLink) -> None:
        assert link.status is not None
        self.verdicts.set_boot(link.slot, link.status.boot_counter)
        for listener in self.on_up:
            listener(link)

    def _down(self, link: NodeLink) -> None:
        for listener in self.on_down:
            listener(link)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            for pool in self._nonces.values():
                pool.refresh()


async def _nothing() -> None:
    """Where no heartbeats are relayed."""
