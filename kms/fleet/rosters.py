"""The roster chain at the gateway: kept, served, brought to every node, and put in force when enough of them hold it.

Nothing here is trusted: nodes and clients verify every version by the one before, and nodes count the
acknowledgements of an activation themselves.  What this program withholds, any operator delivers directly.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from attestation.errors import CodedError
from enclave.roster import Roster
from enclave.roster_chain import Link, read_chain, write_chain
from enclave.wire.message import Empty
from enclave.wire.rosters import Activation, RosterAcknowledgement, RosterOffer, RosterStatus
from kms.errors import ConfigurationError, KmsError, NodeRefusal
from kms.fleet.fleet import Fleet
from kms.fleet.link import NodeLink
from kms.fleet.running import keep_running
from kms.observe import logger

FILE = "rosters.json"
"""The chain as this gateway followed it, in its data directory."""

SETTLE_S, IDLE_S = 2.0, 30.0
"""Pause between two looks at the nodes' versions, in seconds: while one waits for activation, and otherwise."""

TIMEOUT_S = 10.0
"""A node syncs its disk before it acknowledges."""


class RosterStore:
    """The verified chain and its file."""

    def __init__(self, configured: Path, data: Path) -> None:
        """The configured chain, continued by what was followed since; raises ConfigurationError."""
        self._file = data / FILE
        try:
            self.links = list(read_chain(configured.read_bytes()))
            known = self.links[-1].roster
            if self._file.exists():
                self.links += read_chain(self._file.read_bytes(), known=known)
        except OSError as error:
            raise ConfigurationError(f"cannot read {error.filename}: {error.strerror}") from None
        except CodedError as error:
            raise ConfigurationError(f"{configured}: {error.detail}", hint=error.hint) from None

    @property
    def newest(self) -> Link:
        """The newest version."""
        return self.links[-1]

    @property
    def rosters(self) -> list[Roster]:
        """Every version held, oldest first."""
        return [link.roster for link in self.links]

    def after(self, version: int) -> list[bytes]:
        """The envelopes of later versions."""
        return [link.envelope for link in self.links if link.roster.version > version]

    def take(self, envelope: bytes) -> bool:
        """Continue the chain; False if the version is held already.  Raises DocumentError, OSError."""
        links = read_chain(envelope, known=self.newest.roster)
        if not links:
            return False
        self._file.parent.mkdir(parents=True, exist_ok=True)
        chain = write_chain([link.envelope for link in (*self.links, *links)])
        draft = self._file.with_suffix(".new")
        with draft.open("wb") as file:
            file.write(chain)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._file)
        self.links += links
        return True


@dataclass(slots=True, kw_only=True)
class Standing:
    """What one node holds, as it said last."""

    version: int
    newest: int
    not_before: int | None = None
    """Unix seconds before which newly admitted code may not run; None where nothing waits."""
    refusal: str = ""
    """Why it took no version or no activation last."""


@dataclass(slots=True, kw_only=True)
class Settled:
    """What one look at the nodes came to."""

    acknowledgements: dict[str, RosterAcknowledgement] = field(default_factory=dict)
    """Slot -> its word on the newest version."""
    standings: dict[str, Standing] = field(default_factory=dict)


class RosterRelay:
    """Runs until closed; `settle` makes it look at once."""

    def __init__(self, store: RosterStore, fleet: Fleet, *, changed: Callable[[Iterable[str]], None]) -> None:
        """`changed` is told the slots whose version in force changed: they show themselves anew."""
        self.store = store
        self._fleet = fleet
        self._changed = changed
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.standings: dict[str, Standing] = {}

    def start(self) -> None:
        """Begin to look after the nodes."""
        self._task = keep_running("rosters", self._run)

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def bring(self, link: NodeLink) -> None:
        """Give one node every version it lacks; raises LinkError or NodeRefusal."""
        status = await link.call("roster-status", Empty(), timeout_s=TIMEOUT_S)
        assert isinstance(status, RosterStatus)
        newest = status.pending[-1].version if status.pending else status.version
        for envelope in self.store.after(newest):
            await link.call("roster", RosterOffer(roster=envelope), timeout_s=TIMEOUT_S)

    async def settle(self) -> Settled:
        """Bring every node what it lacks, and put in force what enough of them hold."""
        async with self._lock:
            settled = Settled()
            links = self._fleet.connected
            await asyncio.gather(*(self._look(link, settled) for link in links))
            waiting = sorted({version for slot in settled.standings for version in self._pending(settled, slot)})
            moved = set(self._moved(settled))
            for version in waiting:
                if not await self._activate(version, links, settled, moved):
                    break
            newest = self.store.newest.roster.version
            settled.acknowledgements = await self._acknowledged(newest, links)
            self.standings = settled.standings
            if moved:
                self._changed(moved)
            return settled

    async def _run(self) -> None:
        while True:
            settled = await self.settle()
            newest = self.store.newest.roster.version
            busy = any(standing.version < newest for standing in settled.standings.values())
            await asyncio.sleep(SETTLE_S if busy else IDLE_S)

    async def _look(self, link: NodeLink, settled: Settled) -> None:
        refusal = ""
        try:
            await self.bring(link)
        except NodeRefusal as error:
            refusal = error.code
            logger().warning("roster-refused", slot=link.slot, code=error.code)
        except KmsError:
            return
        with contextlib.suppress(KmsError):
            status = await link.call("roster-status", Empty(), timeout_s=TIMEOUT_S)
            assert isinstance(status, RosterStatus)
            settled.standings[link.slot] = _standing(status, refusal)

    def _pending(self, settled: Settled, slot: str) -> range:
        standing = settled.standings[slot]
        return range(standing.version + 1, standing.newest + 1)

    def _moved(self, settled: Settled) -> Iterable[str]:
        for slot, standing in settled.standings.items():
            before = self.standings.get(slot)
            if before is not None and before.version != standing.version:
                yield slot

    async def _acknowledged(self, version: int, links: Iterable[NodeLink]) -> dict[str, RosterAcknowledgement]:
        envelope = next((link.envelope for link in self.store.links if link.roster.version == version), None)
        if envelope is None or version == self.store.links[0].roster.version:
            return {}
        links = list(links)
        answers = await asyncio.gather(
            *(link.call("roster", RosterOffer(roster=envelope), timeout_s=TIMEOUT_S) for link in links),
            return_exceptions=True,
        )
        return {
            link.slot: answer
            for link, answer in zip(links, answers, strict=True)
            if isinstance(answer, RosterAcknowledgement)
        }

    async def _activate(self, version: int, links: Iterable[NodeLink], settled: Settled, moved: set[str]) -> bool:
        """Show every node that waits the acknowledgements; whether any of them put the version in force."""
        held = await self._acknowledged(version, links)
        if not held:
            return False
        digest = next(iter(held.values())).digest
        activation = Activation(version=version, digest=digest, acknowledgements=list(held.values()))
        targets = [
            link for link in links if link.slot in settled.standings and version in self._pending(settled, link.slot)
        ]
        answers = await asyncio.gather(
            *(link.call("roster-activate", activation, timeout_s=TIMEOUT_S) for link in targets),
            return_exceptions=True,
        )
        took = False
        for link, answer in zip(targets, answers, strict=True):
            if isinstance(answer, RosterStatus):
                settled.standings[link.slot] = _standing(answer, "")
                moved.add(link.slot)
                took = True
                logger().info("roster-activated", slot=link.slot, version=version)
            elif isinstance(answer, NodeRefusal):
                settled.standings[link.slot].refusal = answer.code
            elif not isinstance(answer, KmsError):
                raise answer
        return took


def _standing(status: RosterStatus, refusal: str) -> Standing:
    return Standing(
        version=status.version,
        newest=status.pending[-1].version if status.pending else status.version,
        not_before=max((item.not_before for item in status.pending), default=None),
        refusal=refusal,
    )
