"""Control documents, what a node holds, and its signatures over them."""

from __future__ import annotations

from enclave.wire.message import Message, tagged


class ControlRequest(Message, frozen=True):
    """A signed control document (JSON envelope bytes)."""

    document: bytes


class Acknowledgement(Message, frozen=True):
    """A node's signed word that it holds a document: Ed25519 over acknowledgement_bytes()."""

    slot: str
    boot_counter: int
    digest: bytes
    signature: bytes


class PolicyActivation(Message, frozen=True):
    """Acknowledgements that together put a waiting version of a policy in force."""

    policy: str
    digest: bytes
    acknowledgements: list[Acknowledgement]


class Holdings(Message, frozen=True, omit_defaults=True):
    """Digests of the documents and the keys a node holds, so that a relay can send what is missing."""

    documents: list[bytes]
    keys: list[KeyHolding]
    pending: list[bytes]
    """Sessions of prepared ceremonies that wait for their commit."""
    waiting: tuple[bytes, ...] = ()
    """Digests of policies that wait for activation; they are among `documents`."""


class KeyHolding(Message, frozen=True):
    """One key share a node holds."""

    key: str
    version: int
    epoch: int
    state: str


class CertificateRequest(Message, frozen=True, omit_defaults=True):
    """Ask for this boot's signature over a key's certificate."""

    key: str
    version: int = 0
    """0: the newest held."""


class CertificateSignature(Message, frozen=True):
    """A node's signature over a key certificate body (canonical JSON bytes)."""

    slot: str
    boot_counter: int
    identity_key: bytes
    body: bytes
    signature: bytes
    derived_key: bytes = b""
    """Public key of a P-256 key, as this assembler computed it (33 bytes)."""
    derived_signature: bytes = b""
    """Over enclave.derived_key.derived_key_bytes()."""


def acknowledgement_bytes(cluster: bytes, slot: str, boot_counter: int, digest: bytes) -> bytes:
    """What a node signs to acknowledge a document."""
    return tagged("acknowledgement", cluster, slot.encode(), boot_counter.to_bytes(8, "big"), digest)
