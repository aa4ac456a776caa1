"""Nonce commitments fetched ahead, so that a signature takes one round trip.

A commitment is used for one request and never offered twice; it belongs to one connection of one boot
and is dropped before the node would refuse it for age (specs/frost.md).
"""

from __future__ import annotations

import asyncio
from collections import deque

from enclave.wire.signing import NonceCommitment, NoncesReply, NoncesRequest
from kms.errors import KmsError, LinkError
from kms.fleet.link import NodeLink

BATCH = 64
"""Commitments per fetch: about 2 ms of a node's time."""

BATCH_MAX = 256
"""Most per fetch, when many requests wait: what a node gives at once."""

FETCHES_MAX = 32
"""Fetches one request waits for at most: enough for 8192 at once, few enough to notice a node that gives none."""

LOW = 40
"""Fewer than this many start a fetch: covers what arrives while one is on its way."""

AGE_MAX_S = 50.0
"""Oldest commitment used: nodes forget them after 60 s, the difference covers transport and clocks."""


class NoncePool:
    """The unused commitments of one node for one ciphersuite."""

    def __init__(self, link: NodeLink, suite: str) -> None:
        self._link = link
        self._suite = suite
        self._waiting = 0
        self._ready: deque[tuple[float, NonceCommitment]] = deque()
        self._generation = -1
        self._fetching: asyncio.Task[None] | None = None

    async def take(self) -> NonceCommitment:
        """One commitment that nobody else gets; raises LinkError or NodeRefusal if the node gives none."""
        found = self._pop()
        if found is not None:
            return found
        self._waiting += 1
        try:
            for _ in range(FETCHES_MAX):
                await asyncio.shield(self._fetch())
                found = self._pop()
                if found is not None:
                    return found
        finally:
            self._waiting -= 1
        raise LinkError(f"{self._link.slot} gave no usable nonces", code="nonces.unavailable")

    def refresh(self) -> None:
        """Drop what is too old and fetch ahead if that left too few."""
        self._drop_old()
        if len(self._ready) < LOW and self._link.usable:
            self._fetch().add_done_callback(_consume)

    def _pop(self) -> NonceCommitment | None:
        self._drop_old()
        found = self._ready.popleft()[1] if self._ready else None
        if len(self._ready) < LOW:
            self._fetch().add_done_callback(_consume)
        return found

    def _drop_old(self) -> None:
        if self._generation != self._link.generation:
            self._ready.clear()
            self._generation = self._link.generation
        oldest = asyncio.get_running_loop().time() - AGE_MAX_S
        while self._ready and self._ready[0][0] < oldest:
            self._ready.popleft()

    def _fetch(self) -> asyncio.Task[None]:
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fill(), name=f"nonces-{self._link.slot}")
        return self._fetching

    async def _fill(self) -> None:
        generation = self._link.generation
        asked = asyncio.get_running_loop().time()
        count = min(BATCH_MAX, BATCH + self._waiting)
        reply = await self._link.call("nonces", NoncesRequest(suite=self._suite, count=count))
        assert isinstance(reply, NoncesReply)
        if generation == self._link.generation:
            self._ready.extend((asked, nonce) for nonce in reply.nonces)


def _consume(task: asyncio.Task[None]) -> None:
    """A fetch ahead may fail quietly: whoever needs a nonce asks again and gets the error."""
    if not task.cancelled() and isinstance(error := task.exception(), Exception) and not isinstance(error, KmsError):
        raise error
