"""The gateway's parts put together: store, directory, keyring, fleet and relays, started and stopped as one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from typing import Any

from attestation.errors import CodedError
from enclave.roster import Roster
from kms.admission import Admissions
from kms.approvals.desk import ApprovalDesk
from kms.config import GatewayConfig
from kms.directory import Directory
from kms.errors import ConfigurationError, KmsError
from kms.events import EventFeed
from kms.fleet import imports
from kms.fleet.admittance import Admittance
from kms.fleet.adoption import keep_adopting
from kms.fleet.attestation import AttestationRelay
from kms.fleet.ceremonies.conductor import Conductor
from kms.fleet.ceremonies.schedule import keep_fresh
from kms.fleet.ceremony import finish
from kms.fleet.documents import DocumentRelay, push_collateral, push_registry
from kms.fleet.fleet import Fleet
from kms.fleet.heartbeats import HeartbeatRelay
from kms.fleet.link import NodeLink
from kms.fleet.rosters import RosterRelay, RosterStore
from kms.fleet.running import keep_running
from kms.fleet.sources import WatchedFiles
from kms.keyring import Keyring
from kms.observe import logger
from kms.operations import Operations
from kms.ratelimit import RateLimiter
from kms.receipts.collector import LogCollector
from kms.receipts.store import LogStore
from kms.store.protocol import Store

POLL_S = 1.0
"""How often registry and collateral files are looked at, in seconds: a revocation is at every node within two."""

VERDICTS_S = 2.0
"""How often every node's verdict table is read, in seconds; the same call shows whether the node answers."""

RESUME_S = 5.0
"""Pause between attempts to finish a committed ceremony whose nodes are away."""

CATCH_UP_S = 60.0
"""How often every node is asked what it lacks, in seconds, beside each time it connects."""


class Gateway:
    """Everything one gateway process holds; `start` before serving, `close` after."""

    def __init__(self, config: GatewayConfig, store: Store) -> None:
        self.config = config
        self.rosters = RosterStore(config.roster, config.data)
        self.store = store
        self.collateral = WatchedFiles(config.collateral)
        self.registry = WatchedFiles([config.registry] if config.registry is not None else [])
        self.directory = Directory(self.roster)
        self.keyring = Keyring(store)
        self.fleet = Fleet(self.roster)
        self._admittance = Admittance(
            self.roster, collateral=self.collateral, registry=self.registry, clock=self.fleet.clock
        )
        self._admittance.follow(self.rosters.rosters)
        self.relay = AttestationRelay(self.fleet, self._admittance)
        self.heartbeats = HeartbeatRelay(self.fleet)
        self.roster_relay = RosterRelay(self.rosters, self.fleet, changed=self._show_anew)
        self.documents = DocumentRelay(self.fleet, store, newest=self.directory.newest)
        self.admissions = Admissions(
            store=store,
            directory=self.directory,
            limiter=RateLimiter(per_second=config.rate_limit.per_second, burst=config.rate_limit.burst),
            clock=self.fleet.clock,
            monotonic=time.monotonic,
        )
        self.logs = LogCollector(
            self.fleet,
            LogStore(config.data),
            certificates=self.keyring.certified,
            audit_head=lambda: store.audit_head,
            retention_s=None if config.log_retention_days is None else 86400 * config.log_retention_days,
        )
        self.relay.on_presentation.append(self.logs.note_presentation)
        self.heartbeats.on_heartbeat.append(self.logs.heartbeats.hear)
        self.events = EventFeed(store)
        self.operations = Operations(store, clock=self.fleet.clock)
        self.conductor = Conductor(self.fleet, store, self.keyring)
        self.documents.take_up = self.conductor.take_up
        self.approvals = ApprovalDesk(self)
        self.evidence_limiter = RateLimiter(per_second=10, burst=20)
        self.receipt_limiter = RateLimiter(per_second=10, burst=50)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ungiven: set[str] = set()
        """Nodes that refused collateral or registry: one whose clock is put right takes them later."""

    @property
    def roster(self) -> Roster:
        """The newest roster held."""
        return self.rosters.newest.roster

    async def take_roster(self, envelope: bytes) -> bool:
        """Continue the chain and work by it from now on; False if it is held already.

        Raises DocumentError if it does not continue the newest one.
        """
        if not self.rosters.take(envelope):
            return False
        self.directory.follow(self.roster)
        self._admittance.follow(self.rosters.rosters)
        ended = self.fleet.follow(self.roster)
        self.relay.follow()
        await asyncio.gather(*(link.close() for link in ended))
        logger().info("roster-taken", version=self.roster.version)
        return True

    def _show_anew(self, slots: Iterable[str]) -> None:
        """Evidence names the roster in force, so these nodes show themselves under it."""
        for slot in slots:
            if slot in self.fleet.links:
                self.relay.attend(self.fleet.links[slot])

    async def start(self) -> None:
        """Recover what an earlier process left, then connect; raises ConfigurationError, StoreError."""
        self.collateral.load()
        self.registry.load()
        self.directory.load(await self.store.documents())
        left = await self.store.recover(now=self.fleet.clock())
        await self.store.append_audit(
            {"kind": "start", "time": self.fleet.clock(), "cluster": self.roster.cluster_id.hex()}
        )
        self.fleet.on_up.append(lambda link: self._spawn(self._welcome(link), f"welcome-{link.slot}"))
        self.fleet.on_down.append(lambda link: logger().warning("node-lost", slot=link.slot))
        self.fleet.recheck = self.relay.recheck
        self.fleet.start()
        self.relay.start()
        self.heartbeats.start()
        self.roster_relay.start()
        await self._note_sources()
        self.logs.start()
        self._tasks.add(self.events.start())
        self._tasks.add(keep_running("sources", self._poll_sources))
        self._tasks.add(keep_running("sources-again", self._give_again))
        self._tasks.add(keep_running("verdicts", self._poll_verdicts))
        self._tasks.add(keep_running("catch-up", self._poll_holdings))
        self._tasks.add(keep_running("ceremonies", self._resume_ceremonies))
        self._tasks.add(keep_running("imports", self._resume_imports))
        self._tasks.add(keep_running("adoption", lambda: keep_adopting(self.fleet, self.store, self.keyring)))
        self._tasks.add(keep_running("refresh", lambda: keep_fresh(self.fleet, self.keyring, self.conductor)))
        await self.operations.start()
        logger().info("gateway-started", cluster=self.roster.cluster_id.hex(), count=left, listen=self.config.port)

    async def close(self) -> None:
        """Leave the nodes, then write what is waiting."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.operations.close()
        await self.roster_relay.close()
        await self.relay.close()
        await self.heartbeats.close()
        await self.logs.close()
        await self.fleet.close()
        await self.store.close()
        logger().info("gateway-stopped")

    async def _resume_ceremonies(self) -> None:
        """Deliver kept commits again until their keys are certified."""
        while True:
            for ceremony in await self.store.unfinished():
                try:
                    self.keyring.put(await finish(self.fleet, self.store, ceremony))
                    logger().info("ceremony-finished", key=ceremony.key)
                except CodedError as error:
                    logger().warning("ceremony-unfinished", key=ceremony.key, code=error.code)
            await asyncio.sleep(RESUME_S)

    async def _resume_imports(self) -> None:
        """Bring imports to their end whose relay went away between acceptance and commit."""
        while True:
            await asyncio.sleep(CATCH_UP_S)
            await imports.resume(self.fleet, self.store, self.keyring)

    async def _welcome(self, link: NodeLink) -> None:
        """A node answers: give it what it judges by, what it lacks, and let all judge each other."""
        logger().info("node-connected", slot=link.slot, boot_counter=link.status.boot_counter if link.status else 0)
        steps = [self._bring_rosters(link), self._give(link), self._catch_up(link)]
        for step in steps:
            await step
        await self.fleet.refresh_verdicts([link.slot])
        self.relay.attend(link)

    async def _bring_rosters(self, link: NodeLink) -> None:
        try:
            await self.roster_relay.bring(link)
        except KmsError as error:
            logger().warning("roster-refused", slot=link.slot, code=error.code)

    async def _give(self, link: NodeLink) -> None:
        self._ungiven.discard(link.slot)
        try:
            if self.collateral.contents:
                await push_collateral(link, self.collateral.contents)
        except KmsError as error:
            self._ungiven.add(link.slot)
            logger().warning("collateral-refused", slot=link.slot, code=error.code)
        try:
            for snapshot in self.registry.contents:
                await push_registry(link, snapshot)
        except KmsError as error:
            self._ungiven.add(link.slot)
            logger().warning("registry-refused", slot=link.slot, code=error.code)

    async def _catch_up(self, link: NodeLink) -> None:
        try:
            await self.documents.catch_up(link)
        except KmsError as error:
            logger().warning("catch-up-failed", slot=link.slot, code=error.code)

    async def _poll_sources(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            changed = [self._poll_file(files) for files in (self.collateral, self.registry)]
            if any(changed):
                await self._note_sources()
                links = self.fleet.connected
                await asyncio.gather(*(self._give(link) for link in links))
                await self.fleet.refresh_verdicts([link.slot for link in links])
                logger().info("sources-pushed", count=len(links))

    async def _give_again(self) -> None:
        while True:
            await asyncio.sleep(RESUME_S)
            await asyncio.gather(*(self._give(link) for link in self.fleet.connected if link.slot in self._ungiven))

    async def _note_sources(self) -> None:
        """Receipts need what nodes judged evidence by."""
        try:
            if self.collateral.contents:
                await self.logs.note_collateral(self.collateral.contents)
            for snapshot in self.registry.contents:
                await self.logs.note_registry(snapshot)
        except CodedError as error:
            logger().warning("sources-not-kept", code=error.code)

    def _poll_file(self, files: WatchedFiles) -> bool:
        try:
            return files.poll()
        except (OSError, ConfigurationError):
            logger().warning("source-unreadable")
            return False

    async def _poll_verdicts(self) -> None:
        while True:
            await asyncio.sleep(VERDICTS_S)
            await self.fleet.refresh_verdicts([link.slot for link in self.fleet.connected])

    async def _poll_holdings(self) -> None:
        while True:
            await asyncio.sleep(CATCH_UP_S)
            await asyncio.gather(*(self._catch_up(link) for link in self.fleet.connected))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger().error("background-failed", reason_code=task.get_name(), exc_info=error)
