"""Brings control documents and prepared commits to every node, also to those that were away when they came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from attestation.envelope import Envelope
from enclave.wire.attestation import CollateralRequest, RegistryRequest
from enclave.wire.ceremonies import CeremonyRound
from enclave.wire.documents import Acknowledgement, ControlRequest, Holdings, PolicyActivation
from enclave.wire.message import Empty, decode_as
from kms.errors import KmsError, NodeRefusal
from kms.fleet.fleet import Fleet
from kms.fleet.link import NodeLink
from kms.observe import logger
from kms.store.protocol import Store

CONTROL_TIMEOUT_S = 10.0
"""A node syncs its disk before it acknowledges."""

SYNC_BATCH = 64
"""Documents sent to one node at a time while it catches up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How far a document came: acknowledgements as signed, and why others gave none."""

    acknowledged: tuple[Acknowledgement, ...]
    refused: dict[str, NodeRefusal]
    unreached: tuple[str, ...]


class DocumentRelay:
    """Delivers now, and again whenever a node turns up."""

    def __init__(self, fleet: Fleet, store: Store, *, newest: Callable[[], Iterable[tuple[bytes, bytes]]]) -> None:
        self._fleet = fleet
        self._store = store
        self._newest = newest
        self.take_up: Callable[[NodeLink, bytes], Awaitable[None]] | None = None
        """Ends a session that a node prepared and of which this gateway keeps no commit."""

    async def deliver(self, envelope: bytes) -> Delivery:
        """Send one document to every node of the roster."""
        links = list(self._fleet.links.values())
        answers = await asyncio.gather(
            *(link.call("control", ControlRequest(document=envelope), timeout_s=CONTROL_TIMEOUT_S) for link in links),
            return_exceptions=True,
        )
        acknowledged, refused, unreached = [], {}, []
        for link, answer in zip(links, answers, strict=True):
            if isinstance(answer, Acknowledgement):
                acknowledged.append(answer)
            elif isinstance(answer, NodeRefusal):
                refused[link.slot] = answer
            elif isinstance(answer, KmsError):
                unreached.append(link.slot)
            else:
                raise answer
        return Delivery(acknowledged=tuple(acknowledged), refused=refused, unreached=tuple(unreached))

    async def activate(self, policy: str, digest: bytes, held: Iterable[Acknowledgement]) -> dict[str, str]:
        """Show every node who holds a version of a policy; slot -> code of those that do not put it in force yet."""
        message = PolicyActivation(policy=policy, digest=digest, acknowledgements=list(held))
        links = self._fleet.connected
        answers = await asyncio.gather(
            *(link.call("policy-activate", message, timeout_s=CONTROL_TIMEOUT_S) for link in links),
            return_exceptions=True,
        )
        refused = {}
        for link, answer in zip(links, answers, strict=True):
            if isinstance(answer, NodeRefusal):
                refused[link.slot] = answer.code
            elif isinstance(answer, BaseException) and not isinstance(answer, KmsError):
                raise answer
        return refused

    async def _activate_waiting(self, digest: bytes) -> None:
        """Collect acknowledgements anew for a policy that some node waits to put in force."""
        envelope = next((envelope for known, envelope in self._newest() if known == digest), None)
        if envelope is None:
            return
        delivery = await self.deliver(envelope)
        policy = Envelope.parse(envelope).value()["policy"]
        await self.activate(str(policy), digest, delivery.acknowledged)

    async def catch_up(self, link: NodeLink) -> None:
        """Send a node what it lacks: documents in bulk, then the commits of ceremonies it prepared."""
        holdings = await link.call("holdings", Empty(), timeout_s=CONTROL_TIMEOUT_S)
        assert isinstance(holdings, Holdings)
        held = set(holdings.documents)
        missing = [envelope for digest, envelope in self._newest() if digest not in held]
        for start in range(0, len(missing), SYNC_BATCH):
            batch = missing[start : start + SYNC_BATCH]
            answers = await asyncio.gather(
                *(link.call("control", ControlRequest(document=item), timeout_s=CONTROL_TIMEOUT_S) for item in batch),
                return_exceptions=True,
            )
            for answer in answers:
                if isinstance(answer, KmsError):
                    logger().warning("document-refused", slot=link.slot, code=answer.code)
        for digest in holdings.waiting:
            await self._activate_waiting(digest)
        for session in holdings.pending:
            await self._commit(link, session)

    async def _commit(self, link: NodeLink, session: bytes) -> None:
        ceremony = await self._store.ceremony(session)
        if ceremony is None:
            logger().warning("ceremony-unresolved", slot=link.slot, session=session.hex()[:16])
            if self.take_up is not None:
                await self.take_up(link, session)
            return
        await link.call("ceremony-commit", decode_as(CeremonyRound, ceremony.commit), timeout_s=CONTROL_TIMEOUT_S)
        logger().info("commit-delivered", slot=link.slot, key=ceremony.key)


async def push_collateral(link: NodeLink, blobs: Iterable[bytes]) -> None:
    """Give a node the collateral to judge evidence with; raises LinkError or NodeRefusal."""
    await link.call("collateral", CollateralRequest(blobs=list(blobs)), timeout_s=CONTROL_TIMEOUT_S)


async def push_registry(link: NodeLink, snapshot: bytes) -> None:
    """Give a node the newest registry snapshot; raises LinkError or NodeRefusal."""
    await link.call("registry", RegistryRequest(snapshot=snapshot), timeout_s=CONTROL_TIMEOUT_S)
