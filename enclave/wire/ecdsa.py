"""Rounds of threshold ECDSA."""

from __future__ import annotations

from enclave.wire.message import Message, tagged


class EcdsaStart(Message, frozen=True, omit_defaults=True):
    """Round 1 of threshold ECDSA: the request, exactly 2T - 1 signers, and which attempt of this request it is."""

    token: str
    body: bytes
    signers: list[str]
    attempt: int
    epoch: int = 0
    """Of the key shares to use; 0 for those the node has."""
    item: int | None = None
    """Number in the batch that token and body are of."""


class EcdsaMessage(Message, frozen=True):
    """One signer's message of one round; signed over ecdsa_message_bytes()."""

    session: bytes
    round: int
    slot: str
    boot_counter: int
    payload: bytes
    signature: bytes


class EcdsaRound(Message, frozen=True):
    """Rounds 2 to 4: all signers' messages of the round before."""

    session: bytes
    round: int
    messages: list[EcdsaMessage]


class EcdsaAbort(Message, frozen=True):
    """Give up an attempt: what is left of it is wiped."""

    session: bytes


def ecdsa_message_bytes(message: EcdsaMessage) -> bytes:
    """What a signer of threshold ECDSA signs for each round."""
    return tagged(
        "ecdsa-message",
        message.session,
        message.round.to_bytes(4, "big"),
        message.slot.encode(),
        message.boot_counter.to_bytes(8, "big"),
        message.payload,
    )
