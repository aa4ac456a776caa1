"""Keeps the nodes' trust in each other current: relays challenges, evidence, presentations and channel openings.

Every node judges every other itself, from a quote over its own nonce; several verifiers' nonces share one
quote.  This program carries, and has nothing to gain from lying: what it withholds or spoils is missing
at the node, and the node then refuses to work (specs/node.md).  The same quote answers a nonce of this gateway,
which sends requests only to machines whose evidence it verified (kms.fleet.admittance).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterable

from enclave.wire.attestation import ChallengeReply, PeerVerdict, Presentation
from enclave.wire.channel import ChannelOpening, ChannelOpenRequest
from enclave.wire.message import Empty
from kms.errors import KmsError
from kms.fleet.admittance import Admittance
from kms.fleet.evidence import EvidenceDesk
from kms.fleet.fleet import Fleet
from kms.fleet.link import NodeLink
from kms.fleet.running import keep_running
from kms.fleet.verdicts import TRUSTED
from kms.observe import logger

RENEW_MIN_S, RENEW_MAX_S = 1200.0, 1800.0
"""When evidence is renewed, drawn between the two: an assembler's counts for one hour."""

TOGETHER_S = 300.0
"""Renewals due within this time of each other share one quote."""

RETRY_MIN_S, RETRY_MAX_S = 1.0, 60.0
"""Bounds of the pause after a verdict that is not trust; it doubles."""

NONCE_BYTES = 32

PRESENT_TIMEOUT_S = 15.0
"""Judging evidence takes a few milliseconds; the rest is for a loaded machine."""

Pair = tuple[str, str]
"""(verifier, peer)."""


class AttestationRelay:
    """Runs until closed; `attend` and `recheck` make it look at once."""

    def __init__(self, fleet: Fleet, admittance: Admittance) -> None:
        self._fleet = fleet
        self._admittance = admittance
        self.on_presentation: list[Callable[[Presentation], None]] = []
        """Told of every presentation made, whoever asked for it."""
        self.desks = {slot: EvidenceDesk(link, self._presented) for slot, link in fleet.links.items()}
        self._due: dict[Pair, float] = {}
        self._pause: dict[Pair, float] = {}
        self._channels: dict[Pair, tuple[tuple[int, int, int], float]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to relay."""
        self._task = keep_running("attestation-relay", self._run)

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def follow(self) -> None:
        """The fleet has other links: ask those for evidence, and nobody else."""
        self.desks = {
            slot: desk
            if (desk := self.desks.get(slot)) is not None and desk.link is link
            else EvidenceDesk(link, self._presented)
            for slot, link in self._fleet.links.items()
        }
        for table in (self._due, self._pause, self._channels):
            for pair in [pair for pair in table if not set(pair) <= set(self._fleet.links)]:
                del table[pair]
        for link in self._fleet.connected:
            self.attend(link)

    def attend(self, link: NodeLink) -> None:
        """A node is new here: it judges all, and all judge it."""
        others = [slot for slot in self._fleet.links if slot != link.slot]  # every node judges itself by itself
        pairs = {pair for other in others for pair in ((link.slot, other), (other, link.slot))}
        for pair in pairs:
            self._pause.pop(pair, None)
        self._set_due(pairs)

    def recheck(self, slots: Iterable[str]) -> None:
        """Somebody refused for lack of trust among `slots`: present their evidence again."""
        members = list(slots)
        self._set_due({(one, other) for one in members for other in members if one != other})

    async def open_channel(self, sender: str, receiver: str) -> None:
        """Have `sender` make a session key for `receiver` and deliver it; raises LinkError or NodeRefusal."""
        source, target = self._fleet.links[sender], self._fleet.links[receiver]
        state = _channel_state(source, target)
        opening = await source.call("channel-open", ChannelOpenRequest(slot=receiver))
        assert isinstance(opening, ChannelOpening)
        await target.call("channel-accept", opening)
        self._channels[sender, receiver] = (state, asyncio.get_running_loop().time())

    async def ensure_channels(self, senders: Iterable[str], receiver: str) -> None:
        """Open what is missing of the sessions from `senders`; failures show when the session is used."""
        missing = [slot for slot in senders if slot != receiver and not self._has_channel(slot, receiver)]
        if missing:
            await self._open_all([(slot, receiver) for slot in missing])

    def forget_channels(self, senders: Iterable[str], receiver: str) -> None:
        """A node said that sessions are missing: take its word."""
        for slot in senders:
            self._channels.pop((slot, receiver), None)

    def _presented(self, presentation: Presentation) -> None:
        for listener in self.on_presentation:
            listener(presentation)

    def _set_due(self, pairs: set[Pair]) -> None:
        now = asyncio.get_running_loop().time()
        for pair in pairs:
            # A pair that failed a moment ago waits out its pause, so that refusals do not become quotes.
            self._due[pair] = min(self._due.get(pair, now), now) if pair not in self._pause else self._due[pair]
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            peers = {pair[1] for pair, at in self._due.items() if at <= loop.time() and self._ready(pair)}
            if peers:
                soon = loop.time() + TOGETHER_S
                due = {pair for pair, at in self._due.items() if pair[1] in peers and at <= soon and self._ready(pair)}
                await asyncio.gather(*(self._attest(peer, [v for v, p in due if p == peer]) for peer in peers))
                await self._open_channels()
                continue
            self._wake.clear()
            later = [at for pair, at in self._due.items() if self._ready(pair)]
            wait = max(0.05, min(later, default=loop.time() + 5.0) - loop.time())
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
                await asyncio.sleep(0.02)  # nodes come up together: let one quote serve them all
            except TimeoutError:
                continue

    def _ready(self, pair: Pair) -> bool:
        return all(self._fleet.links[slot].connected for slot in pair)

    async def _attest(self, peer: str, verifiers: list[str]) -> None:
        """One quote of `peer` for all `verifiers`."""
        challenges = await asyncio.gather(*(self._challenge(slot) for slot in verifiers))
        nonces = {slot: nonce for slot, nonce in zip(verifiers, challenges, strict=True) if nonce is not None}
        presentation: Presentation | None = None
        if nonces:
            own = os.urandom(NONCE_BYTES)
            try:
                presentation = await self.desks[peer].ask([*nonces.values(), own])
                self._admit(peer, presentation, own)
            except KmsError as error:
                logger().warning("evidence-failed", slot=peer, code=error.code)
        results = await asyncio.gather(*(self._present(slot, peer, nonces, presentation) for slot in verifiers))
        renewal = random.uniform(RENEW_MIN_S, RENEW_MAX_S)  # noqa: S311  spreads load; one for all, to quote once again
        for verifier, trusted in zip(verifiers, results, strict=True):
            self._schedule((verifier, peer), renewal if trusted and self._fleet.links[peer].admitted else None)

    async def _challenge(self, verifier: str) -> bytes | None:
        try:
            reply = await self._fleet.links[verifier].call("challenge", Empty())
        except KmsError:
            return None
        assert isinstance(reply, ChallengeReply)
        return reply.nonce

    def _admit(self, peer: str, presentation: Presentation, nonce: bytes) -> None:
        """Let requests through a connection that ends in the attested machine; nodes judge for themselves."""
        identity = presentation.identity
        link = self._fleet.links[peer]
        if identity.slot != peer or identity.cluster != self._fleet.roster.cluster_id:
            link.reset()
            raise KmsError("the evidence is of another node", code="evidence.misdirected")
        if not link.admitted:
            # Once is enough: a TLS connection does not change its end.
            self._admittance.check(presentation, nonce)
        if not link.admit(identity.tls_spki):
            raise KmsError("the evidence names another TLS key than the connection's", code="evidence.tls-key")

    async def _present(
        self, verifier: str, peer: str, nonces: dict[str, bytes], presentation: Presentation | None
    ) -> bool:
        if presentation is None or verifier not in nonces:
            return False
        try:
            row = await self._fleet.links[verifier].call("present", presentation, timeout_s=PRESENT_TIMEOUT_S)
        except KmsError as error:
            logger().warning("presentation-refused", slot=verifier, peer=peer, code=error.code)
            return False
        assert isinstance(row, PeerVerdict)
        self._fleet.verdicts.put(verifier, row)
        if row.result != TRUSTED:
            logger().warning("peer-not-trusted", slot=verifier, peer=peer, code=row.result)
        return row.result == TRUSTED

    def _schedule(self, pair: Pair, renewal: float | None) -> None:
        """Look at the pair again after `renewal` seconds, or, without trust, after its growing pause."""
        now = asyncio.get_running_loop().time()
        if renewal is not None:
            self._pause.pop(pair, None)
            self._due[pair] = now + renewal
            return
        pause = min(RETRY_MAX_S, self._pause.get(pair, RETRY_MIN_S / 2) * 2)
        self._pause[pair] = pause
        self._due[pair] = now + random.uniform(pause / 2, pause)  # noqa: S311  spreads load

    async def _open_channels(self) -> None:
        """Session keys for every pair that lacks one for its present connection and boots."""
        links, now = self._fleet.links, self._fleet.clock()
        missing = [
            (sender, receiver)
            for sender in links
            for receiver in links
            if sender != receiver
            and self._ready((sender, receiver))
            and self._fleet.verdicts.mutual(sender, receiver, now)
            and not self._has_channel(sender, receiver)
        ]
        await self._open_all(missing)

    async def _open_all(self, pairs: list[Pair]) -> None:
        results = await asyncio.gather(*(self.open_channel(*pair) for pair in pairs), return_exceptions=True)
        for (sender, receiver), result in zip(pairs, results, strict=True):
            if isinstance(result, KmsError):
                logger().warning("channel-failed", slot=sender, peer=receiver, code=result.code)
            elif isinstance(result, BaseException):
                raise result

    def _has_channel(self, sender: str, receiver: str) -> bool:
        state, opened_at = self._channels.get((sender, receiver), (None, 0.0))
        young = asyncio.get_running_loop().time() - opened_at < RENEW_MIN_S
        return young and state == _channel_state(self._fleet.links[sender], self._fleet.links[receiver])


def _channel_state(sender: NodeLink, receiver: NodeLink) -> tuple[int, int, int]:
    """What a session belongs to: the sender's connection and boot, the receiver's boot."""
    boots = [link.status.boot_counter if link.status is not None else 0 for link in (sender, receiver)]
    return sender.generation, boots[0], boots[1]
