"""Roster versions on their way to a node, what it holds of them, and the certificates that put them in force."""

from __future__ import annotations

from enclave.wire.message import Message, tagged


class RosterOffer(Message, frozen=True):
    """One signed roster version (JSON envelope bytes)."""

    roster: bytes


class RosterAcknowledgement(Message, frozen=True):
    """A node's signed word that it holds a version and applies its restrictions: Ed25519 over `roster_ack_bytes`."""

    slot: str
    boot_counter: int
    version: int
    digest: bytes
    received_at: int
    """Unix seconds when this node took it, kept across restarts: what `upgrade_delay` counts from."""
    signature: bytes


class Activation(Message, frozen=True):
    """Acknowledgements that together put a version in force, everything before it included."""

    version: int
    digest: bytes
    acknowledgements: list[RosterAcknowledgement]


class PendingRoster(Message, frozen=True):
    """A version that is held and not in force yet."""

    version: int
    digest: bytes
    received_at: int
    not_before: int
    """Unix seconds: newly admitted code may not run earlier; `received_at` where none is admitted."""


class RosterStatus(Message, frozen=True):
    """What a node holds (informative)."""

    slot: str
    version: int
    """In force here."""
    digest: bytes
    pending: list[PendingRoster]


def roster_ack_bytes(
    cluster: bytes, slot: str, boot_counter: int, version: int, digest: bytes, received_at: int
) -> bytes:
    """What a node signs to acknowledge a roster version."""
    numbers = (boot_counter, version, received_at)
    return tagged(
        "roster-acknowledgement", cluster, slot.encode(), digest, *(number.to_bytes(8, "big") for number in numbers)
    )
