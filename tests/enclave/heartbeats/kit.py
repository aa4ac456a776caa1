"""What the heartbeat tests share: who works, and heartbeats that a corrupt node could sign."""

from __future__ import annotations

from typing import Any

import msgspec

from enclave.identity import BootIdentity
from enclave.wire.heartbeats import Heartbeat, HeartbeatReply, SignedHeartbeat, heartbeat_bytes
from enclave.wire.message import decode_as, encode
from tests.enclave.node.world import RELAY, World


def refuses(world: World, slot: str) -> str:
    """Why a node does not work now; empty if it does."""
    reply: HeartbeatReply = world.ask(slot, "heartbeat", connection=RELAY)
    return reply.refuses


def states(world: World) -> list[str]:
    """`refuses` of every running node, in order of their slots."""
    return [refuses(world, slot) for slot in sorted(world.nodes)]


def pass_time(world: World, seconds: int, *slots: str) -> None:
    """Let time pass while heartbeats travel between `slots` (all by default), one second at a time."""
    for _ in range(seconds):
        world.now += 1
        world.relay(*slots, rounds=1)


def content(signed: SignedHeartbeat) -> Heartbeat:
    """What a heartbeat says."""
    return decode_as(Heartbeat, signed.body)


def signed_by(identity: BootIdentity, heartbeat: Heartbeat, **changes: Any) -> SignedHeartbeat:
    """A changed heartbeat under its author's own good signature: what a corrupt node can say."""
    body = encode(msgspec.structs.replace(heartbeat, **changes))
    return SignedHeartbeat(
        slot=heartbeat.slot, body=body, signature=identity.sign(heartbeat_bytes(identity.public.cluster, body))
    )


def lie(world: World, slot: str, /, **changes: Any) -> SignedHeartbeat:
    """The next heartbeat of a node, with what it says changed and signed again."""
    world.elapsed += 0.25  # beyond what is given again unchanged
    return signed_by(world.nodes[slot].identity, content(world.beat(slot)), **changes)
