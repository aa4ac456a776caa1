"""Fetches what nodes log, with signed and countersigned heads, and everything receipts need beside it.

Rules kept: entries are asked for again until they are stored; a head that does not follow from the entries stored here
is an alarm with the node's name, never silently dropped; nothing on the way of a signature waits for this.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from attestation.canonical import canonical_json
from attestation.collateral import Collateral
from attestation.errors import CodedError
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.entry import output_digest
from enclave.wire.attestation import Presentation
from enclave.wire.message import ENCODER
from enclave.wire.receipts import LogCheckpointReply, LogCheckpointRequest, LogEntriesReply, LogEntriesRequest
from kms.errors import KmsError
from kms.fleet.fleet import Fleet
from kms.fleet.link import NodeLink
from kms.fleet.running import keep_running
from kms.observe import logger
from kms.receipts.countersigned import HeartbeatBook
from kms.receipts.store import LogStore

EVERY_S = 1.0
"""Pause between two rounds over the nodes; a node under full load fills three pages meanwhile."""

PAGE = 1000
PAGES_MAX = 32
"""Pages of one node per round, so that one backlog does not keep the others waiting."""

OUTPUTS_MAX = 20_000
"""Outputs waiting to be stored; beyond it the oldest are dropped: a receipt without them still proves the decision."""

CERTIFICATE_TRIES = 30
"""Rounds in which a key certificate is looked for: opaque secrets have none here."""

CERTIFICATES_MAX = 20_000
"""Certificates known to be kept, or not to be had."""

T = TypeVar("T")


class CertificateSource(Protocol):
    """Where key certificates come from."""

    def __call__(self, resource: str, digest: bytes) -> Awaitable[dict[str, Any] | None]:
        """The JSON form of the certificate of `key_.../version` whose body has that digest, if it is known."""


class LogCollector:
    """Runs until closed; `store` is used through `run` only."""

    def __init__(
        self,
        fleet: Fleet,
        store: LogStore,
        *,
        certificates: CertificateSource,
        audit_head: Callable[[], bytes],
        retention_s: int | None = None,
    ) -> None:
        self.store = store
        self.heartbeats = HeartbeatBook()
        self.forks: dict[tuple[str, int], bytes] = {}
        """(slot, boot counter) of logs whose signed head does not follow from their entries: that head."""
        self._fleet = fleet
        self._certificates = certificates
        self._audit_head = audit_head
        self._retention_s = retention_s
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="log-store")
        # Whoever asks for many receipts must not keep entries from being stored: nodes would stop.
        self._reader = store.reader()
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="log-reader")
        self._outputs: deque[tuple[bytes, str, str, tuple[bytes, ...]]] = deque(maxlen=OUTPUTS_MAX)
        self._presented: deque[Presentation] = deque(maxlen=256)
        self._wanted: dict[bytes, tuple[str, int]] = {}
        """Certificates to find: digest -> resource and how often it was looked for."""
        self._known: dict[bytes, None] = {}
        self._checked: dict[tuple[str, int], int] = {}
        self._task: asyncio.Task[None] | None = None
        self._pruned_at = 0

    def start(self) -> None:
        """Begin to fetch."""
        self._task = keep_running("log-collector", self._run)

    async def close(self) -> None:
        """Fetch once more what is there, then stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(2.0):
                await self.turn()
        except (TimeoutError, CodedError):
            pass
        await self.run(self.store.close)
        await self.read(LogStore.close)
        self._executor.shutdown(wait=False)
        self._reading.shutdown(wait=False)

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do something with the store, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)

    async def read(self, work: Callable[[LogStore], T]) -> T:
        """Look something up, beside the thread that stores."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, work, self._reader)

    # --- what others tell ------------------------------------------------------------------------------

    def note_presentation(self, presentation: Presentation) -> None:
        """Evidence on its way between nodes."""
        self._presented.append(presentation)

    def note_output(self, request_id: bytes, slot: str, scheme: str, parts: tuple[bytes, ...]) -> None:
        """What a node gave out for a request, so that a receipt can show what its decision commits to."""
        self._outputs.append((request_id, slot, scheme, parts))

    async def note_collateral(self, blobs: tuple[bytes, ...]) -> None:
        """Collateral given to nodes."""
        now = self._fleet.clock()
        collateral = Collateral.of(*blobs)
        await self.run(self.store.put_collateral, collateral.digest, collateral.blobs(), now)

    async def note_registry(self, data: bytes) -> None:
        """A registry snapshot given to nodes."""
        await self.run(self.store.put_registry, RegistrySnapshot.parse(data), self._fleet.clock())

    # --- the rounds --------------------------------------------------------------------------------------

    async def turn(self) -> None:
        """One round: what was told, then every node's entries and head."""
        await self._write_down()
        links = [link for link in self._fleet.connected if link.status is not None]
        results = await asyncio.gather(*(self._collect(link) for link in links), return_exceptions=True)
        for link, result in zip(links, results, strict=True):
            if isinstance(result, CodedError):
                logger().warning("log-not-fetched", slot=link.slot, code=result.code)
            elif isinstance(result, BaseException):
                raise result
        await self._keep_certificates(self._fleet.clock())

    async def _run(self) -> None:
        while True:
            await self.turn()
            now = self._fleet.clock()
            if self._retention_s is not None and now - self._pruned_at > 3600:
                self._pruned_at = now
                await self.run(self.store.prune, now - self._retention_s)
            await asyncio.sleep(EVERY_S)

    async def _write_down(self) -> None:
        now = self._fleet.clock()
        while self._presented:
            presentation = self._presented.popleft()
            digest = hashlib.sha256(presentation.evidence).digest()
            await self.run(self.store.put_presentation, digest, presentation, now)
        if self._outputs:
            outputs = [self._outputs.popleft() for _ in range(len(self._outputs))]
            await self.run(self._store_outputs, outputs, now)

    def _store_outputs(self, outputs: list[tuple[bytes, str, str, tuple[bytes, ...]]], now: int) -> None:
        self.store.put_outputs(
            [
                (request_id, slot, output_digest(scheme, *parts), ENCODER.encode([scheme.encode(), *parts]), now)
                for request_id, slot, scheme, parts in outputs
            ]
        )

    async def _collect(self, link: NodeLink) -> None:
        assert link.status is not None
        slot, boot = link.slot, link.status.boot_counter
        held = await self.run(self.store.log, slot, boot)
        if held is not None and held.is_broken:
            return
        size = held.size if held is not None else 0
        for _ in range(PAGES_MAX):
            reply = await link.call("log-entries", LogEntriesRequest(boot_counter=boot, start=size, count=PAGE))
            assert isinstance(reply, LogEntriesReply)
            if reply.start > size:
                logger().error("log-gap", slot=slot, boot_counter=boot, count=reply.start - size)
            if reply.entries:
                now = self._fleet.clock()
                added = await self.run(self.store.append, slot, boot, reply.start, reply.entries, now)
                size = added.size
                for digest, resource in added.certificates.items():
                    if digest not in self._known:
                        self._wanted.setdefault(digest, (resource, 0))
            if not reply.entries or size >= reply.size:
                break
        if size:
            await self._head(link, slot, boot, size)

    async def _head(self, link: NodeLink, slot: str, boot: int, size: int) -> None:
        """A signed head: the largest that enough peers echoed, or the present one where nobody echoes."""
        needed = self._fleet.roster.witness_terms.a
        echoed = self.heartbeats.echoed(slot, boot, needed) if needed else None
        if needed and echoed is None:
            return
        if echoed is not None and (echoed.size > size or self._checked.get((slot, boot)) == echoed.size):
            return
        if echoed is None and self._checked.get((slot, boot)) == size:
            return
        request = LogCheckpointRequest(size=echoed.size if echoed else 0, gateway_head=self._audit_head())
        reply = await link.call("log-checkpoint", request)
        assert isinstance(reply, LogCheckpointReply)
        head, _ = LogCheckpoint.parse(reply.note)
        held = await self.run(self.store.log, slot, boot)
        if held is None or head.size > held.size:
            return
        if await self.run(self.store.tree(held.log).root, head.size) != head.root:
            # Kept all the same: a signed head that contradicts the entries is evidence against its author.
            self.forks[slot, boot] = reply.note
            logger().error("log-fork", slot=slot, boot_counter=boot, size=head.size)
        heartbeats = echoed.heartbeats if echoed is not None else {}
        await self.run(self.store.put_checkpoint, held.log, head.size, reply.note, heartbeats)
        self._checked[slot, boot] = head.size

    async def _keep_certificates(self, now: int) -> None:
        """Key certificates that decisions name: a key just made is known here a moment after its nodes use it."""
        for digest, (resource, tries) in list(self._wanted.items()):
            try:
                found = await self._certificates(resource, digest)
            except KmsError:
                found = None
            if found is not None:
                await self.run(self.store.put_certificate, digest, canonical_json(found), now)
            if found is not None or tries >= CERTIFICATE_TRIES:
                del self._wanted[digest]
                while len(self._known) >= CERTIFICATES_MAX:
                    del self._known[next(iter(self._known))]
                self._known[digest] = None
            else:
                self._wanted[digest] = (resource, tries + 1)
