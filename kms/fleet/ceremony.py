"""Drives the generation of a key: carries each round's messages, keeps the commit, collects the certificate.

Steps (specs/node.md section 5): 1 the order goes to every participant; 2 to 3 everyone's messages of a round
go to everyone; 4 once all have prepared, their signatures are the commit: kept on disk first, then sent, and
sent again to whoever was away; 5 the certificate counts with the signatures of at least T holders.
A failure before step 4 ends the attempt without a key; after it only delivery is left to do.
"""

from __future__ import annotations

import base64
import hashlib
import os

import msgspec

from enclave.ceremonies.facts import Kind
from enclave.certificate import verify_certificate
from enclave.errors import PeerError
from enclave.key_order import KeyOrder
from enclave.wire.ceremonies import CeremonyCommitted, CeremonyRound, CeremonyStart
from enclave.wire.message import decode_as, encode, tagged
from kms.errors import ConflictError, KmsError, UnavailableError
from kms.fleet.ceremonies.rounds import ask, drive
from kms.fleet.fleet import Fleet
from kms.keys import Key, KeyRecord
from kms.observe import logger
from kms.store.protocol import Store, StoredCeremony


class OrderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a restarted gateway needs to finish a committed ceremony."""

    participants: list[str]
    labels: dict[str, str]
    created_at: int
    body: bytes
    """SHA-256 of the order."""


async def create_key(
    fleet: Fleet, store: Store, order: KeyOrder, *, token: str, body: bytes, request_id: bytes, reference: str
) -> Key:
    """A new certified key, or the one an earlier try under the same `reference` brought to its commit.

    Raises UnavailableError, NodeRefusal, PeerError, ConflictError (`idempotency.other-request`).
    """
    earlier = await store.ceremony_for(reference)
    if earlier is not None:
        return await _earlier(fleet, store, earlier, body)
    slots = list(order.nodes)
    away = [slot for slot in slots if not fleet.links[slot].usable]
    if away:
        raise UnavailableError(
            f"every node of a new key must take part, {', '.join(away)} cannot be reached",
            code="ceremony-unavailable",
            hint="wait for them, or name the nodes to use",
        )
    session = os.urandom(32)
    key = key_id_of(request_id)
    start = CeremonyStart(session=session, kind=Kind.DKG, token=token, body=body, key=key, participants=slots)
    commit = await drive(fleet, start)
    record = OrderRecord(participants=slots, labels=dict(order.labels), created_at=fleet.clock(), body=_digest(body))
    ceremony = StoredCeremony(
        session=session, reference=reference, key=key, commit=encode(commit), order=_ENCODER.encode(record)
    )
    await store.put_ceremony(ceremony)
    return await finish(fleet, store, ceremony)


async def _earlier(fleet: Fleet, store: Store, ceremony: StoredCeremony, body: bytes) -> Key:
    if _DECODER.decode(ceremony.order).body != _digest(body):
        raise ConflictError("this idempotency key belongs to another order", code="idempotency.other-request")
    stored = await store.key(ceremony.key)
    return Key.load(stored) if stored is not None else await finish(fleet, store, ceremony)


async def finish(fleet: Fleet, store: Store, ceremony: StoredCeremony) -> Key:
    """Deliver a kept commit and store the key once enough holders certified it; safe to repeat.

    Raises UnavailableError (`ceremony-unfinished`) while too few holders answer, PeerError.
    """
    record = _DECODER.decode(ceremony.order)
    commit = decode_as(CeremonyRound, ceremony.commit)
    answers = await ask(fleet, record.participants, "ceremony-commit", commit)
    signatures = [
        signature
        for answer in answers.values()
        if isinstance(answer, CeremonyCommitted)
        for signature in answer.certificates
    ]
    for slot, answer in answers.items():
        if isinstance(answer, KmsError):
            logger().warning("commit-failed", slot=slot, key=ceremony.key, code=answer.code)
    identities = {slot: link.status.identity_key for slot, link in fleet.links.items() if link.status is not None}
    for body in {signature.body for signature in signatures}:
        agreeing = [signature for signature in signatures if signature.body == body]
        try:
            certificate = verify_certificate(body, agreeing, identities=identities, cluster=fleet.roster.cluster_id)
        except PeerError as error:
            logger().warning("certificate-refused", key=ceremony.key, code=error.code)
            continue
        if certificate.key != ceremony.key:
            continue
        agreeing.sort(key=lambda signature: signature.slot)
        key = Key.of(KeyRecord(body=body, signatures=agreeing, labels=record.labels), record.created_at)
        await store.put_key(key.stored(), session=ceremony.session)
        return key
    raise UnavailableError(
        "the key was generated, but too few of its holders have certified it yet",
        code="ceremony-unfinished",
        hint="the commit is delivered again by itself; list the keys in a moment",
    )


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def key_id_of(request_id: bytes) -> str:
    """The id of the key that one request makes: the same request never makes two keys."""
    digest = hashlib.sha256(tagged("key-id", request_id)).digest()[:16]
    return "key_" + base64.b32encode(digest).decode("ascii").rstrip("=").lower()


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(OrderRecord)
