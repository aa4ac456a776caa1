"""Heartbeats: what each node signs every two seconds, and how relays carry it (specs/heartbeats.md)."""

from __future__ import annotations

from enclave.wire.message import Message, tagged


class Seen(Message, frozen=True):
    """What the author last accepted of one peer: its newest boot, that boot's identity, its newest heartbeat."""

    slot: str
    boot_counter: int
    identity: bytes
    """SHA-256 of the peer's identity key."""
    sequence: int
    log_size: int
    log_root: bytes
    wait_ms: int
    """Milliseconds until no lease the author gave to an older boot of the peer can still run."""
    kept_counter: int = 0
    """Counter of the peer's newest witness statement that the author has stored."""
    kept: bytes = b""
    """That statement, while the peer does not know yet whether its state is the newest."""


class Heartbeat(Message, frozen=True):
    """One node's word at one moment."""

    cluster: bytes
    slot: str
    boot_counter: int
    sequence: int
    """Counts from 1 in each boot."""
    time: int
    """The author's own clock, Unix seconds."""
    clean: bool
    """Whether the boot before this one held the slot's lease and ended in order."""
    log_size: int
    log_root: bytes
    """Checkpoint of the author's receipt log."""
    roster_version: int
    roster_digest: bytes
    registry: bytes
    """The signed head of the newest registry snapshot held (a note of the freshness key), or nothing."""
    restrictions: int
    """How many documents held here only take power away."""
    restrictions_digest: bytes
    """A digest of that set, whatever its order."""
    documents: list[bytes]
    """Some of them, while a peer's set differs: each an envelope that counts by its own signatures."""
    seen: list[Seen]
    statement: bytes = b""
    """The author's newest witness statement (enclave.witness), if its platform can seal."""
    warm: bool = False
    """Whether the author knows that its own state is the newest."""


class SignedHeartbeat(Message, frozen=True):
    """A heartbeat as it travels: msgpack bytes and the author's signature over heartbeat_bytes()."""

    slot: str
    body: bytes
    signature: bytes


class HeartbeatReply(Message, frozen=True):
    """A node's newest heartbeat, and (informative) whether it works."""

    heartbeat: SignedHeartbeat
    refuses: str
    """Code of the reason why it does not work now; empty if it does."""
    detail: str


class HeartbeatsRequest(Message, frozen=True):
    """Heartbeats of other nodes."""

    heartbeats: list[SignedHeartbeat]


class HeartbeatRefusal(Message, frozen=True):
    """Why one heartbeat was not taken."""

    slot: str
    code: str


class HeartbeatsReply(Message, frozen=True):
    """Those that were not taken; all others were."""

    refused: list[HeartbeatRefusal]


class ClockRequest(Message, frozen=True):
    """An operator's signed word on what time it is (envelope bytes)."""

    document: bytes


class ForkProof(Message, frozen=True):
    """Two heartbeats of one boot that no honest node signs both: proof against their author."""

    identity_key: bytes
    first: SignedHeartbeat
    second: SignedHeartbeat


class ForksReply(Message, frozen=True):
    """Every proof a node holds."""

    proofs: list[ForkProof]


def heartbeat_bytes(cluster: bytes, body: bytes) -> bytes:
    """What a node signs."""
    return tagged("heartbeat", cluster, body)
