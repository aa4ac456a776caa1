"""Keeps the client's verified view of the cluster current, at the cost of one evidence round when it matters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from kms.client.errors import VerificationError
from kms.client.transport import Transport
from kms.client.trust import TrustAnchors
from kms.client.verification import ClusterView, verify_cluster

VIEW_AGE_MAX_S = 3600
"""How long one round of evidence counts, in seconds: a certified public key never changes, and nodes check each
other every few seconds anyway."""

REFRESH_PAUSE_S = 0.5
"""Least pause between two rounds of evidence, in seconds: a gateway that keeps sending unknown signatures must not
make this client ask for quotes all day; an honest one whose node just rebooted costs the caller half a second."""


class Attestor:
    """Single-flight cache of `verify_cluster`."""

    def __init__(self, transport: Transport, trust: TrustAnchors, *, clock: Callable[[], int]) -> None:
        self._transport = transport
        self._trust = trust
        self._clock = clock
        self._view: ClusterView | None = None
        self._verified_at = -REFRESH_PAUSE_S
        """On the monotonic clock, in seconds."""
        self._lock = asyncio.Lock()

    async def view(self, *, again: bool = False) -> ClusterView:
        """The current view; verifies the cluster on first use, when the last view has aged, and when told to.

        Raises VerificationError; `verify.no-node` if not one node could be verified.
        """
        async with self._lock:
            if again or self._view is None or self._aged(self._view):
                self._view = await self._verify()
            return self._view

    async def refresh(self, known: ClusterView) -> ClusterView:
        """A newer view than `known`, because something did not match it: nodes may have rebooted."""
        async with self._lock:
            if self._view is None or self._view is known:
                await asyncio.sleep(max(0.0, self._verified_at + REFRESH_PAUSE_S - time.monotonic()))
                self._view = await self._verify()
            return self._view

    def _aged(self, view: ClusterView) -> bool:
        now = self._clock()
        return now >= view.checked_at + VIEW_AGE_MAX_S or now >= view.valid_until

    async def _verify(self) -> ClusterView:
        seen = self._view.snapshot if self._view else None
        view = await verify_cluster(self._transport, self._trust, now=self._clock(), seen=seen)
        if not view.identities:
            raise VerificationError(
                "no node of the cluster could be verified: "
                + "; ".join(f"{slot}: {check.error.code}" for slot, check in view.nodes.items() if check.error),
                code="verify.no-node",
                hint="`kms nodes attest` shows what failed at each node",
            )
        self._verified_at = time.monotonic()
        return view
