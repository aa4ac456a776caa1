"""Which heads of which logs have peers echoed?  A short memory of the heartbeats that passed through this gateway.

Nothing is verified here: a forged heartbeat makes a receipt that does not verify, and nodes refuse it anyway.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from enclave.errors import WireError
from enclave.wire.heartbeats import Heartbeat, SignedHeartbeat
from enclave.wire.message import decode_as

HEARTBEATS_MAX = 12
"""Heartbeats remembered per author: what 24 s bring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Echoed:
    """A head and the heartbeats that echo it: peer -> (its boot counter, heartbeat)."""

    size: int
    root: bytes
    heartbeats: dict[str, tuple[int, SignedHeartbeat]]


class HeartbeatBook:
    """The newest heartbeats of every node."""

    def __init__(self) -> None:
        self._heard: dict[str, deque[tuple[Heartbeat, SignedHeartbeat]]] = {}

    def hear(self, signed: SignedHeartbeat) -> None:
        """Remember a heartbeat on its way."""
        held = self._heard.setdefault(signed.slot, deque(maxlen=HEARTBEATS_MAX))
        if held and held[-1][1] == signed:
            return
        try:
            held.append((decode_as(Heartbeat, signed.body), signed))
        except WireError:
            return

    def echoed(self, slot: str, boot_counter: int, needed: int) -> Echoed | None:
        """The largest head of that log echoed by at least `needed` peers, or None."""
        found: dict[tuple[int, bytes], dict[str, tuple[int, SignedHeartbeat]]] = {}
        for peer, heard in self._heard.items():
            if peer == slot:
                continue
            for heartbeat, signed in heard:
                for row in heartbeat.seen:
                    if row.slot == slot and row.boot_counter == boot_counter:
                        heads = found.setdefault((row.log_size, row.log_root), {})
                        heads[peer] = (heartbeat.boot_counter, signed)
        enough = [(head, peers) for head, peers in found.items() if len(peers) >= needed]
        if not enough:
            return None
        (size, root), peers = max(enough, key=lambda item: item[0][0])
        return Echoed(size=size, root=root, heartbeats=peers)
