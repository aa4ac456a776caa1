"""Asking one node for evidence: one quote at a time, answering every nonce that waits for it.

A quote is work, so whoever asks while one is being made shares the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from enclave.wire.attestation import EvidenceRequest, Presentation
from kms.errors import KmsError
from kms.fleet.link import NodeLink

NONCES_MAX = 64
"""Most nonces in one quote: bounds the size of a presentation; more waiters take another quote."""

TIMEOUT_S = 15.0
"""A real quote takes up to a few seconds on a loaded machine."""

PAUSE_S = 0.02
"""Pause before a quote in which further nonces may join it."""


class EvidenceDesk:
    """The queue of nonces before one node."""

    def __init__(self, link: NodeLink, on_presentation: Callable[[Presentation], None]) -> None:
        """`on_presentation` sees every presentation made: receipts need the evidence that nodes relied on."""
        self.link = link
        self._on_presentation = on_presentation
        self._waiting: list[tuple[list[bytes], asyncio.Future[Presentation]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, nonces: list[bytes]) -> Presentation:
        """A presentation that answers all of `nonces`; raises LinkError or NodeRefusal."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Presentation] = loop.create_future()
        self._waiting.append((nonces, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._serve(), name=f"evidence-{self.link.slot}")
        return await future

    async def _serve(self) -> None:
        while self._waiting:
            await asyncio.sleep(PAUSE_S)
            batch = self._take()
            nonces = [nonce for asked, _ in batch for nonce in asked]
            try:
                reply = await self.link.call("evidence", EvidenceRequest(nonces=nonces), timeout_s=TIMEOUT_S)
                assert isinstance(reply, Presentation)
                self._on_presentation(reply)
            except KmsError as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for _, future in batch:
                if not future.done():
                    future.set_result(reply)

    def _take(self) -> list[tuple[list[bytes], asyncio.Future[Presentation]]]:
        batch: list[tuple[list[bytes], asyncio.Future[Presentation]]] = []
        count = 0
        while self._waiting and (not batch or count + len(self._waiting[0][0]) <= NONCES_MAX):
            batch.append(self._waiting.pop(0))
            count += len(batch[-1][0])
        return batch
