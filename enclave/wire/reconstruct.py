"""Shares sealed to a named assembler, and what it makes of them."""

from __future__ import annotations

from enclave.wire.message import Message


class ReleaseRequest(Message, frozen=True, omit_defaults=True):
    """Ask for this node's share sealed to the assembler."""

    token: str
    body: bytes
    signers: list[str]
    assembler: str
    epoch: int = 0
    """Of the key shares to use; 0 for those the node has."""
    item: int | None = None
    """Number in the batch that token and body are of."""


class SealedShare(Message, frozen=True):
    """A share sealed over the node-to-node session."""

    slot: str
    session: bytes
    counter: int
    ciphertext: bytes


class AssembleRequest(Message, frozen=True, omit_defaults=True):
    """Ask the assembler to combine sealed shares and sign once."""

    token: str
    body: bytes
    signers: list[str]
    shares: list[SealedShare]
    epoch: int = 0
    """Of the key shares to use; 0 for those the node has."""
    item: int | None = None
    """Number in the batch that token and body are of."""


class AssembleReply(Message, frozen=True):
    """A compact low-s ECDSA signature (r || s) and its recovery id."""

    signature: bytes
    recovery_id: int


class P256Release(Message, frozen=True):
    """Ask for this node's share of a new P-256 key, sealed to the assembler that is to compute its public key."""

    token: str
    body: bytes
    signers: list[str]
    assembler: str


class P256Derive(Message, frozen=True):
    """Ask an assembler to compute and keep the public key of a new P-256 key."""

    token: str
    body: bytes
    signers: list[str]
    shares: list[SealedShare]
