"""Carries orders out: batch by batch, few at a time, so that signing goes on; takes up what others left behind.

Rules kept (specs/ceremonies.md section 10): at most CONCURRENT sessions run; a batch that fails before everyone has
prepared is tried again under a fresh session; keys that are past the order's epoch count as done, so that an order can
be carried out again after an interruption.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from enclave.ceremonies.facts import Kind
from enclave.ceremonies.orders import CeremonyOrder
from enclave.wire.ceremonies import CeremonyQuery, CeremonyRound, CeremonyStanding
from enclave.wire.documents import Holdings
from enclave.wire.message import Empty
from kms.errors import ConflictError, KmsError, NodeRefusal, NotFoundError, UnavailableError
from kms.fleet.ceremonies.certified import Certifier
from kms.fleet.ceremonies.plan import Batch, batches, beginning
from kms.fleet.ceremonies.resolve import resolve
from kms.fleet.ceremonies.rounds import drive
from kms.fleet.fleet import Fleet
from kms.fleet.link import NodeLink
from kms.keyring import Keyring
from kms.keys import Key
from kms.observe import logger
from kms.store.protocol import Store

CONCURRENT = 2
"""Sessions this gateway runs at once: while one is on the wire another is computed."""

ATTEMPTS = 3
"""Tries of one batch: another gateway may drive the same keys, or a node may just be starting."""

STRAY_S = 30
"""Seconds after a prepare from which a session is taken for abandoned: its own driver gives up sooner."""

TRANSIENT = ("ceremony.", "ceremony-", "attestation-", "node-", "lease-", "log-", "versions-", "clock-")
"""Prefixes of codes after which the same batch may succeed."""

PAGE = 500

Progress = Callable[[int, int], None]
"""Keys done, keys in all."""


@dataclass(slots=True, kw_only=True)
class Result:
    """What became of an order's keys."""

    done: list[Key] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Key -> code."""


class Conductor:
    """All ceremonies about existing keys that one gateway drives."""

    def __init__(self, fleet: Fleet, store: Store, keyring: Keyring) -> None:
        self._fleet = fleet
        self._store = store
        self._keyring = keyring
        self.certifier = Certifier(fleet, store, keyring)
        self._slots = asyncio.Semaphore(CONCURRENT)
        self.sessions_done = 0

    async def carry_out(
        self,
        order: CeremonyOrder,
        envelope: bytes,
        *,
        progress: Progress = lambda done, total: None,  # noqa: ARG005
    ) -> Result:
        """Every key of an order; raises NotFoundError, ConflictError (`key.epoch`) before anything is done."""
        keys = await self._keys(order)
        return await self.renew(order.action, order, envelope, keys, progress=progress)

    async def renew(
        self,
        action: Kind,
        order: CeremonyOrder | None,
        envelope: bytes,
        keys: Sequence[Key],
        *,
        progress: Progress = lambda done, total: None,  # noqa: ARG005
    ) -> Result:
        """The ceremony for all these keys, in batches; `order` is None where the roster's schedule orders it."""
        result = Result()

        async def one(batch: Batch) -> None:
            async with self._slots:
                try:
                    result.done += await self._batch(action, order, envelope, batch)
                except KmsError as error:
                    result.failed.update({key.key: error.code for key in batch.keys})
            progress(len(result.done) + len(result.failed), len(keys))

        await asyncio.gather(*(one(batch) for batch in batches(keys, action)))
        return result

    async def take_up(self, link: NodeLink, session: bytes) -> None:
        """A node has prepared a session: if nobody drives it any more, bring it to its end."""
        standing = await link.call("ceremony-standing", CeremonyQuery(session=session))
        assert isinstance(standing, CeremonyStanding)
        if standing.state != "prepared" or self._fleet.clock() - standing.prepared_at < STRAY_S:
            return
        messages = await resolve(self._fleet, session, standing.participants)
        if messages is not None:
            commit = CeremonyRound(session=session, round=messages[0].round + 1, messages=messages)
            await self.certifier.commit(standing.participants, commit)
        event = "ceremony-resolved" if messages is not None else "ceremony-aborted"
        logger().info(event, slot=link.slot, session=session.hex()[:16])

    async def _batch(self, action: Kind, order: CeremonyOrder | None, envelope: bytes, batch: Batch) -> list[Key]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                start = beginning(self._fleet, action, order, envelope, batch)
                commit = await drive(self._fleet, start)
                break
            except (NodeRefusal, UnavailableError) as error:
                if attempt == ATTEMPTS or not error.code.startswith(TRANSIENT):
                    raise
                logger().warning("ceremony-again", attempt=attempt, code=error.code, count=len(batch.keys))
                await asyncio.sleep(random.uniform(0.2, 1.0) * attempt)  # noqa: S311  lets two gateways part
        done, taken = await self.certifier.commit(start.participants, commit)
        self.sessions_done += 1
        if order is not None and order.target is not None and order.target in taken:
            return list(batch.keys)  # certificates stay as they are
        missing = {key.key for key in batch.keys} - {key.key for key in done}
        if missing:
            raise UnavailableError(
                "the keys were renewed, but too few of their holders have certified it yet",
                code="ceremony-unfinished",
                hint="the commit is delivered again by itself",
            )
        return done

    async def _keys(self, order: CeremonyOrder) -> list[Key]:
        if order.action is Kind.REPAIR and not order.keys:
            return await self._lost(order.target or "")
        found = []
        for ref in order.keys:
            newest = await self._keyring.get(ref.key)
            key = newest.at_version(ref.version) if newest is not None else None
            if key is None:
                raise NotFoundError("no such key or version", code="not-found")
            if key.certificate.epoch < ref.epoch:
                key = await self.certifier.relearn(key)
            epoch, version = key.certificate.epoch, key.certificate.version
            if (version, epoch) == (ref.version, ref.epoch):
                found.append(key)
            elif len(order.keys) == 1:
                raise ConflictError(
                    f"the key is at epoch {epoch}, the order is for {ref.epoch}",
                    code="key.epoch",
                    hint="somebody renewed it already; sign a fresh order if you want it again",
                )
        return found

    async def _lost(self, target: str) -> list[Key]:
        """The keys that a node should hold and does not."""
        link = self._fleet.links.get(target)
        if link is None:
            raise NotFoundError("no such node", code="not-found")
        holdings = await link.call("holdings", Empty())
        assert isinstance(holdings, Holdings)
        held = {(item.key, item.version) for item in holdings.keys}
        lost, after = [], ""
        while page := await self._keyring.page(after=after, limit=PAGE):
            after = page[-1].key
            for newest in page:
                versions = [newest, *(newest.at_version(number) for number in range(1, newest.certificate.version))]
                for key in versions:
                    facts = key.certificate if key is not None else None
                    if key is None or facts is None or facts.node(target) is None:
                        continue
                    if (facts.key, facts.version) not in held:
                        lost.append(key)
        return lost
