"""Opaque secrets: upload, challenge, release to an attested workload."""

from __future__ import annotations

from enclave.wire.message import Message


class SecretPut(Message, frozen=True):
    """Hand in a secret that a client wrapped and whose scalar it dealt (request token over the exact body)."""

    token: str
    body: bytes


class SecretChallenge(Message, frozen=True):
    """Ask for a nonce that a workload's evidence has to answer to get one secret's share."""

    token: str
    body: bytes


class SecretNonce(Message, frozen=True):
    """A nonce good once until `expires_at` (Unix seconds); signed over release_nonce_bytes()."""

    nonce: bytes
    boot_counter: int
    expires_at: int
    signature: bytes


class SecretRelease(Message, frozen=True, omit_defaults=True):
    """Ask for this node's share, sealed to the workload whose evidence is in the body."""

    token: str
    body: bytes
    wrapped: bool = False
    """Whether the wrapped secret is wanted as well: one node's is enough."""
    epoch: int = 0
    """Of the key shares to use; 0 for those the node has."""


class ReleasedShare(Message, frozen=True):
    """A share sealed to the workload's key."""

    sealed: bytes
    wrapped: bytes | None = None
