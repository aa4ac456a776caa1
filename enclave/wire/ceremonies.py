"""Rounds of a ceremony."""

from __future__ import annotations

from enclave.wire.message import Message, tagged


class CeremonyMessage(Message, frozen=True):
    """One participant's message of one round; signed over ceremony_message_bytes()."""

    session: bytes
    round: int
    slot: str
    boot_counter: int
    payload: bytes
    signature: bytes


class CeremonyStart(Message, frozen=True):
    """Round 1: the order (request token over the exact body) and who takes part."""

    session: bytes
    kind: str
    token: str
    body: bytes
    key: str
    participants: list[str]


class CeremonyRound(Message, frozen=True):
    """Rounds 2 and later: all participants' messages of the round before."""

    session: bytes
    round: int
    messages: list[CeremonyMessage]


def ceremony_message_bytes(message: CeremonyMessage) -> bytes:
    """What the sender of a ceremony message signs."""
    return tagged(
        "ceremony-message",
        message.session,
        message.round.to_bytes(4, "big"),
        message.slot.encode(),
        message.boot_counter.to_bytes(8, "big"),
        message.payload,
    )
