"""FROST over Ed25519 and BIP-340: nonce commitments and signature shares."""

from __future__ import annotations

import msgspec

from enclave.wire.message import Message


class NoncesRequest(Message, frozen=True):
    """Ask for `count` fresh nonce commitments of a ciphersuite (`ed25519`, `secp256k1-schnorr`)."""

    suite: str
    count: int


class NonceCommitment(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A one-use nonce: its id and the two public commitments (RFC 9591 section 5.1; R1 and R2 of BIP-445)."""

    nonce: bytes
    hiding: bytes
    binding: bytes


class NoncesReply(Message, frozen=True):
    """Fresh nonce commitments, tied to this connection and boot, valid 60 s."""

    nonces: list[NonceCommitment]


class Signer(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One member of a FROST signer set with the commitment it uses."""

    slot: str
    hiding: bytes
    binding: bytes


class SignRequest(Message, frozen=True, omit_defaults=True):
    """Ask for a FROST signature share."""

    token: str
    body: bytes
    nonce: bytes
    signers: list[Signer]
    epoch: int = 0
    """Of the key shares to use; 0 for those the node has."""
    item: int | None = None
    """Number in the batch that token and body are of."""


class SignReply(Message, frozen=True):
    """A signature share (32-byte scalar) and the group commitment R it was made under (32-byte point)."""

    share: bytes
    group_commitment: bytes


class SchnorrSignRequest(Message, frozen=True, omit_defaults=True):
    """Ask for a BIP-340 signature share; `aggregate_nonce` is the sum of all signers' commitments (66 bytes)."""

    token: str
    body: bytes
    nonce: bytes
    signers: list[str]
    aggregate_nonce: bytes
    epoch: int = 0
    """Of the key shares to use; 0 for those the node has."""
    item: int | None = None
    """Number in the batch that token and body are of."""


class SchnorrSignReply(Message, frozen=True):
    """A signature share (32-byte big-endian scalar) and the nonce point R it was made under (33-byte point)."""

    share: bytes
    nonce_point: bytes
