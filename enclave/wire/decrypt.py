"""Partial decryptions, and openings inside a named enclave."""

from __future__ import annotations

import msgspec

from enclave.wire.message import Message, tagged


class PartialRequest(Message, frozen=True, omit_defaults=True):
    """Ask for a partial decryption."""

    token: str
    body: bytes
    signers: list[str]
    epoch: int = 0
    """Of the key shares to use; 0 for those the node has."""
    item: int | None = None
    """Number in the batch that token and body are of."""


class PartialReply(Message, frozen=True):
    """A partial Diffie-Hellman point, in clear (edge request) or sealed to the request's recipient."""

    partial: bytes | None = None
    sealed: bytes | None = None
    """To the recipient: the point, and its proof behind it if the request wants one."""
    proof: bytes | None = None
    """Of a partial in clear, if the request wants one."""
    boot_counter: int = 0
    signature: bytes = b""
    """Over proven_partial_bytes(), if the request wants proofs: a wrong partial is then its sender's own."""
    row: bytes | None = None
    """Point and proof over the session to the node that opens inside its enclave."""


class SealedRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A partial result on its way to the node that opens."""

    slot: str
    sealed: bytes


class OpenRequest(Message, frozen=True, omit_defaults=True):
    """Ask the node that the request names to open a ciphertext inside its enclave."""

    token: str
    body: bytes
    signers: list[str]
    rows: list[SealedRow]
    epoch: int = 0
    """Of the key shares to use; 0 for those the node has."""
    item: int | None = None
    """Number in the batch that token and body are of."""


class OpenReply(Message, frozen=True):
    """The plaintext sealed to the request's recipient or key; signed over opened_bytes()."""

    sealed: bytes
    target_version: int
    """Version of the key it was sealed to again; 0 for a recipient."""
    boot_counter: int
    signature: bytes


def proven_partial_bytes(
    *, cluster: bytes, request_id: bytes, key: str, slot: str, boot_counter: int, sealed: bytes
) -> bytes:
    """What a node signs over a partial result it was asked to prove, sealed as it leaves."""
    return tagged(
        "proven-partial",
        cluster,
        request_id,
        key.encode(),
        slot.encode(),
        boot_counter.to_bytes(8, "big"),
        sealed,
    )


def opened_bytes(
    *, cluster: bytes, request_id: bytes, key: str, slot: str, boot_counter: int, sealed: bytes, target_version: int
) -> bytes:
    """What a node signs over what it opened and sealed again."""
    return tagged(
        "opened",
        cluster,
        request_id,
        key.encode(),
        slot.encode(),
        boot_counter.to_bytes(8, "big"),
        sealed,
        target_version.to_bytes(4, "big"),
    )
