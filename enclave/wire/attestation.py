"""Evidence, what it is judged by, and the verdicts of one node."""

from __future__ import annotations

from enclave.wire.message import Message


class Identity(Message, frozen=True):
    """What a node's evidence binds (design of report_data: enclave.presentation)."""

    cluster: bytes
    """32-byte cluster id."""
    slot: str
    boot_counter: int
    identity_key: bytes
    """Ed25519 public key of this boot."""
    kem_key: bytes
    """Hybrid ML-KEM-768 + X25519 public key of this boot."""
    tls_spki: bytes
    """SHA-256 of the TLS certificate's SubjectPublicKeyInfo."""
    roster_digest: bytes
    purpose: str


class BootProof(Message, frozen=True):
    """That a boot continues the ones before it on the same sealed disk (enclave.boots)."""

    chain_key: bytes
    """Ed25519 point of the sealed chain secret."""
    commitment: bytes
    response: bytes
    """Schnorr proof over the identity of this boot."""
    signature: bytes
    """Of the boot's identity key over `chain_key`."""


class Presentation(Message, frozen=True, omit_defaults=True):
    """Fresh evidence of one node answering several verifiers' nonces at once."""

    identity: Identity
    nonces: list[bytes]
    evidence: bytes
    boot: BootProof | None = None


class Status(Message, frozen=True):
    """What a node says of itself (informative)."""

    slot: str
    boot_counter: int
    identity_key: bytes
    roster_digest: bytes
    started_at: int
    now: int
    keys: int
    registry_sequence: int
    collateral_digest: bytes
    version: str


class ChallengeReply(Message, frozen=True):
    """A nonce (32 bytes) this node will accept once within 60 s."""

    nonce: bytes


class EvidenceRequest(Message, frozen=True):
    """Ask for evidence over the Merkle root of `nonces`."""

    nonces: list[bytes]


class CollateralRequest(Message, frozen=True):
    """Collateral blobs (any form attestation.collateral reads)."""

    blobs: list[bytes]


class RegistryRequest(Message, frozen=True):
    """A proof-of-cloud registry snapshot."""

    snapshot: bytes


class RegistryReply(Message, frozen=True):
    """The newest snapshot sequence this node holds."""

    sequence: int


class PeerVerdict(Message, frozen=True):
    """One row of a node's verdict table."""

    slot: str
    boot_counter: int
    result: str
    """`trusted`, or the code why not: `attestation-denied`, `attestation-stale`, `attestation-unavailable`."""
    reason: str
    platform_id: str
    valid_until: int
    alive: bool = True
    """Whether a heartbeat of that boot is at most ten seconds old: needed to work with it, beside trust."""


class VerdictsReply(Message, frozen=True):
    """A node's whole verdict table."""

    verdicts: list[PeerVerdict]
