"""Frames between a gateway and a node, and the messages inside them.

A frame is a big-endian u32 length and a msgpack array of calls or answers, so that everything of
one event-loop tick travels together.  Nothing in a frame is believed because of who sent it: each
message carries what the node needs to decide for itself (specs/wire.md).
"""

from __future__ import annotations

import struct
from typing import Any, TypeVar

import msgspec

from enclave.errors import WireError

FRAME_BYTES_MAX = 8 << 20
"""Largest frame in bytes: a tick's worth of coalesced requests of 1 MiB bodies never gets near; bounds memory."""

CALLS_MAX = 4096
"""Most calls in one frame."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all messages: immutable values with strict decoding."""


class Empty(Message, frozen=True):
    """No content."""


# --- frame level -----------------------------------------------------------------------------------


class Call(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One request in a frame."""

    id: int
    verb: str
    body: msgspec.Raw


class Fault(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A refusal: a stable code, a detail for people, a hint, and proven culprits (slots)."""

    code: str
    detail: str
    hint: str | None = None
    culprits: list[str] = []


class Answer(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One reply in a frame: either `fault` or `body`."""

    id: int
    fault: Fault | None
    body: msgspec.Raw


# --- attestation ------------------------------------------------------------------------------------


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


class Presentation(Message, frozen=True):
    """Fresh evidence of one node answering several verifiers' nonces at once."""

    identity: Identity
    nonces: list[bytes]
    evidence: bytes


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


class VerdictsReply(Message, frozen=True):
    """A node's whole verdict table."""

    verdicts: list[PeerVerdict]


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


# --- documents --------------------------------------------------------------------------------------


class ControlRequest(Message, frozen=True):
    """A signed control document (JSON envelope bytes)."""

    document: bytes


class Acknowledgement(Message, frozen=True):
    """A node's signed word that it holds a document: Ed25519 over acknowledgement_bytes()."""

    slot: str
    boot_counter: int
    digest: bytes
    signature: bytes


class Holdings(Message, frozen=True):
    """Digests of the documents and the keys a node holds, so that a relay can send what is missing."""

    documents: list[bytes]
    keys: list[KeyHolding]
    pending: list[bytes]
    """Sessions of prepared ceremonies that wait for their commit."""


class KeyHolding(Message, frozen=True):
    """One key share a node holds."""

    key: str
    version: int
    epoch: int
    state: str


class BudgetsRequest(Message, frozen=True):
    """Ask how far the budgets of a policy are used at this node; the token is over an empty body."""

    token: str
    policy: str


class BudgetCounter(Message, frozen=True):
    """One counter: decimal strings of base units, scaled to the whole cap."""

    budget: str
    subject: str
    """Agent or key; empty where everybody under the policy shares it."""
    spent: str
    reserved: str
    """Counted on disk beyond what is spent: lost if the node restarts."""
    resets_at: int


class BudgetKey(Message, frozen=True):
    """What one key of the policy may take at once."""

    budget: str
    key: str
    max_single: str


class BudgetsReply(Message, frozen=True):
    """This node's counters; nobody else proves them."""

    version: int
    """Of the policy held here."""
    counters: list[BudgetCounter]
    keys: list[BudgetKey]


# --- ceremonies -------------------------------------------------------------------------------------


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


class CertificateRequest(Message, frozen=True):
    """Ask for this boot's signature over a key's certificate."""

    key: str


class CertificateSignature(Message, frozen=True):
    """A node's signature over a key certificate body (canonical JSON bytes)."""

    slot: str
    boot_counter: int
    identity_key: bytes
    body: bytes
    signature: bytes


# --- use of keys ------------------------------------------------------------------------------------


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


class SignRequest(Message, frozen=True):
    """Ask for a FROST signature share."""

    token: str
    body: bytes
    nonce: bytes
    signers: list[Signer]


class SignReply(Message, frozen=True):
    """A signature share (32-byte scalar) and the group commitment R it was made under (32-byte point)."""

    share: bytes
    group_commitment: bytes


class SchnorrSignRequest(Message, frozen=True):
    """Ask for a BIP-340 signature share; `aggregate_nonce` is the sum of all signers' commitments (66 bytes)."""

    token: str
    body: bytes
    nonce: bytes
    signers: list[str]
    aggregate_nonce: bytes


class SchnorrSignReply(Message, frozen=True):
    """A signature share (32-byte big-endian scalar)."""

    share: bytes


class EcdsaStart(Message, frozen=True):
    """Round 1 of threshold ECDSA: the request, exactly 2T - 1 signers, and which attempt of this request it is."""

    token: str
    body: bytes
    signers: list[str]
    attempt: int


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


class ReleaseRequest(Message, frozen=True):
    """Ask for this node's share sealed to the assembler."""

    token: str
    body: bytes
    signers: list[str]
    assembler: str


class SealedShare(Message, frozen=True):
    """A share sealed over the node-to-node session."""

    slot: str
    session: bytes
    counter: int
    ciphertext: bytes


class AssembleRequest(Message, frozen=True):
    """Ask the assembler to combine sealed shares and sign once."""

    token: str
    body: bytes
    signers: list[str]
    shares: list[SealedShare]


class AssembleReply(Message, frozen=True):
    """A compact low-s ECDSA signature (r || s) and its recovery id."""

    signature: bytes
    recovery_id: int


class PartialRequest(Message, frozen=True):
    """Ask for a partial decryption."""

    token: str
    body: bytes
    signers: list[str]


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


class OpenRequest(Message, frozen=True):
    """Ask the node that the request names to open a ciphertext inside its enclave."""

    token: str
    body: bytes
    signers: list[str]
    rows: list[SealedRow]


class OpenReply(Message, frozen=True):
    """The plaintext sealed to the request's recipient or key; signed over opened_bytes()."""

    sealed: bytes
    target_version: int
    """Version of the key it was sealed to again; 0 for a recipient."""
    boot_counter: int
    signature: bytes


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


class SecretRelease(Message, frozen=True):
    """Ask for this node's share, sealed to the workload whose evidence is in the body."""

    token: str
    body: bytes
    wrapped: bool = False
    """Whether the wrapped secret is wanted as well: one node's is enough."""


class ReleasedShare(Message, frozen=True):
    """A share sealed to the workload's key."""

    sealed: bytes
    wrapped: bytes | None = None


VERBS: dict[str, tuple[type[Message], type[Message]]] = {
    "status": (Empty, Status),
    "challenge": (Empty, ChallengeReply),
    "evidence": (EvidenceRequest, Presentation),
    "collateral": (CollateralRequest, Empty),
    "registry": (RegistryRequest, RegistryReply),
    "present": (Presentation, PeerVerdict),
    "verdicts": (Empty, VerdictsReply),
    "channel-open": (ChannelOpenRequest, ChannelOpening),
    "channel-accept": (ChannelOpening, Empty),
    "control": (ControlRequest, Acknowledgement),
    "holdings": (Empty, Holdings),
    "budgets": (BudgetsRequest, BudgetsReply),
    "ceremony-start": (CeremonyStart, CeremonyMessage),
    "ceremony-round": (CeremonyRound, CeremonyMessage),
    "ceremony-commit": (CeremonyRound, CertificateSignature),
    "certificate": (CertificateRequest, CertificateSignature),
    "nonces": (NoncesRequest, NoncesReply),
    "sign": (SignRequest, SignReply),
    "schnorr-sign": (SchnorrSignRequest, SchnorrSignReply),
    "ecdsa-start": (EcdsaStart, EcdsaMessage),
    "ecdsa-round": (EcdsaRound, EcdsaMessage),
    "ecdsa-abort": (EcdsaAbort, Empty),
    "release": (ReleaseRequest, SealedShare),
    "assemble": (AssembleRequest, AssembleReply),
    "partial": (PartialRequest, PartialReply),
    "open": (OpenRequest, OpenReply),
    "secret-put": (SecretPut, CertificateSignature),
    "secret-challenge": (SecretChallenge, SecretNonce),
    "secret-release": (SecretRelease, ReleasedShare),
}
"""Every verb with its request and reply type."""

_LENGTH = struct.Struct(">I")
_ENCODER = msgspec.msgpack.Encoder()
_CALLS = msgspec.msgpack.Decoder(list[Call])
_ANSWERS = msgspec.msgpack.Decoder(list[Answer])
_REQUESTS = {verb: msgspec.msgpack.Decoder(types[0]) for verb, types in VERBS.items()}
_REPLIES = {verb: msgspec.msgpack.Decoder(types[1]) for verb, types in VERBS.items()}

T = TypeVar("T")


def encode(message: Any) -> bytes:
    """Msgpack bytes of a message, a list of calls or a list of answers."""
    return _ENCODER.encode(message)


def frame(content: list[Call] | list[Answer]) -> bytes:
    """One frame on the wire."""
    body = _ENCODER.encode(content)
    return _LENGTH.pack(len(body)) + body


def decode_calls(body: bytes) -> list[Call]:
    """The calls of one frame body; raises WireError."""
    calls = _decode(_CALLS, body)
    if len(calls) > CALLS_MAX:
        raise WireError("too many calls in one frame", code="wire.too-large")
    return calls


def decode_answers(body: bytes) -> list[Answer]:
    """The answers of one frame body; raises WireError."""
    return _decode(_ANSWERS, body)


def decode_request(verb: str, body: bytes | msgspec.Raw) -> Message:
    """The typed request of a verb; raises WireError (`wire.unknown-verb`, `wire.malformed`)."""
    decoder = _REQUESTS.get(verb)
    if decoder is None:
        raise WireError("unknown verb", code="wire.unknown-verb")
    return _decode(decoder, body)


def decode_reply(verb: str, body: bytes | msgspec.Raw) -> Message:
    """The typed reply of a verb; raises WireError."""
    return _decode(_REPLIES[verb], body)


def decode_as(kind: type[T], body: bytes) -> T:
    """A message of type `kind` from its msgpack bytes; raises WireError."""
    return _decode(msgspec.msgpack.Decoder(kind), body)


def _decode(decoder: msgspec.msgpack.Decoder[T], body: bytes | msgspec.Raw) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        raise WireError("message does not have its stated form") from None


class FrameReader:
    """Splits a byte stream into frame bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Frame bodies completed by `data`; raises WireError (`wire.too-large`) before buffering an oversized one."""
        self._buffer += data
        bodies = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > FRAME_BYTES_MAX:
                raise WireError("frame larger than 8 MiB", code="wire.too-large")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return bodies


def tagged(tag: str, *parts: bytes) -> bytes:
    """Domain-separated signing bytes: each part with its u32 length, under `holdfast/<tag>/v1`."""
    name = f"holdfast/{tag}/v1".encode()
    return b"".join(_LENGTH.pack(len(part)) + part for part in (name, *parts))


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


def acknowledgement_bytes(cluster: bytes, slot: str, boot_counter: int, digest: bytes) -> bytes:
    """What a node signs to acknowledge a document."""
    return tagged("acknowledgement", cluster, slot.encode(), boot_counter.to_bytes(8, "big"), digest)


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
