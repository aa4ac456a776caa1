"""Session keys between two nodes, relayed sealed."""

from __future__ import annotations

from enclave.wire.message import Message, tagged


class ChannelOpenRequest(Message, frozen=True):
    """Ask for a sealed session key towards the node in `slot`."""

    slot: str


class ChannelOpening(Message, frozen=True):
    """A session key sealed to the receiver's KEM key and signed by the sender's identity key."""

    sender: str
    sender_boot: int
    receiver: str
    receiver_boot: int
    session: bytes
    sealed: bytes
    signature: bytes


def channel_opening_bytes(opening: ChannelOpening) -> bytes:
    """What the sender of a channel opening signs."""
    return tagged(
        "channel-opening",
        opening.sender.encode(),
        opening.sender_boot.to_bytes(8, "big"),
        opening.receiver.encode(),
        opening.receiver_boot.to_bytes(8, "big"),
        opening.session,
        opening.sealed,
    )
