"""Import and export among the nodes: a sealed upload to every holder, then everybody's acceptance to everybody.

What passes through here is sealed: shares to nodes on their way in, to who asked on their way out.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attestation.errors import CodedError
from enclave.certificate import KeyCertificate
from enclave.wire.documents import CertificateSignature
from enclave.wire.imports import (
    ExportedShare,
    ExportRequest,
    ImportAccepted,
    ImportCommit,
    ImportPrepare,
    ImportQuery,
    ImportsPending,
)
from enclave.wire.message import Empty, Message
from kms.errors import KmsError, LinkError, NodeRefusal, UnavailableError
from kms.fleet.attempts import AGREEING_MIN, is_own_state
from kms.fleet.fleet import Fleet
from kms.keyring import Keyring
from kms.keys import Key, KeyRecord
from kms.observe import logger
from kms.store.protocol import Store

TIMEOUT_S = 10.0
"""Longest wait for the nodes: sixteen holders check a commitment and write to disk."""

RESUME_AFTER_S = 60
"""Age in seconds from which an import without an end is taken up: its own relay is done or gone by then."""

COMMIT_TRIES = 3
"""How often a node that did not answer is told that everybody accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Sealed shares of at least T nodes; `wrapped` is empty unless the key is an imported P-256 key."""

    shares: Mapping[str, bytes]
    wrapped: bytes


async def take_in(
    fleet: Fleet, certificate: KeyCertificate, *, token: str, body: bytes
) -> tuple[list[CertificateSignature], list[str]]:
    """The holders' signatures and the slots that accepted but could not be told that everybody did.

    Raises NodeRefusal if a holder does not accept, UnavailableError (`import-unfinished`): send the same body again.
    """
    slots = certificate.slots
    answers = await _ask(fleet, slots, "import-prepare", ImportPrepare(token=token, body=body))
    accepted = [answer for answer in answers.values() if isinstance(answer, ImportAccepted)]
    if len(accepted) < len(slots):
        raise _refused(answers)
    return await _begin(fleet, certificate, accepted)


async def resume(fleet: Fleet, store: Store, keyring: Keyring) -> None:
    """Bring imports to their end that every holder accepted and whose relay went away; safe to repeat."""
    waiting: dict[bytes, KeyCertificate] = {}
    for link in fleet.connected:
        try:
            reply = await link.call("import-pending", Empty(), timeout_s=TIMEOUT_S)
        except KmsError:
            continue
        assert isinstance(reply, ImportsPending)
        for item in reply.imports:
            if item.accepted_at + RESUME_AFTER_S < fleet.clock():
                certificate = KeyCertificate.parse(item.body)
                waiting[certificate.transcript] = certificate
    for certificate in waiting.values():
        try:
            await _resume(fleet, store, keyring, certificate)
        except CodedError as error:
            logger().warning("import-unfinished", key=certificate.key, code=error.code)


async def _resume(fleet: Fleet, store: Store, keyring: Keyring, certificate: KeyCertificate) -> None:
    if not set(certificate.slots) <= set(fleet.links):
        return
    answers = await _ask(fleet, certificate.slots, "import-standing", ImportQuery(transcript=certificate.transcript))
    accepted = [answer for answer in answers.values() if isinstance(answer, ImportAccepted)]
    if len(accepted) < len(certificate.slots):
        return  # somebody never accepted, or is away: nothing begins
    signatures, _ = await _begin(fleet, certificate, accepted)
    known = await keyring.get(certificate.key)
    if known is not None:
        key = known.with_signatures(signatures)
    else:
        key = Key.of(KeyRecord(body=certificate.body(), signatures=signatures, labels={}), fleet.clock())
    await store.put_key(key.stored())
    keyring.put(key)
    logger().info("import-finished", key=certificate.key)


async def _begin(
    fleet: Fleet, certificate: KeyCertificate, accepted: list[ImportAccepted]
) -> tuple[list[CertificateSignature], list[str]]:
    """Tell every holder that all accepted."""
    slots = certificate.slots
    commit = ImportCommit(transcript=certificate.transcript, accepted=accepted)
    signatures: dict[str, CertificateSignature] = {}
    for _ in range(COMMIT_TRIES):
        left = [slot for slot in slots if slot not in signatures]
        answers = await _ask(fleet, left, "import-commit", commit)
        signatures |= {
            slot: answer
            for slot, answer in answers.items()
            if isinstance(answer, CertificateSignature) and answer.body == certificate.body()
        }
        if not any(isinstance(answer, LinkError) for answer in answers.values()):
            break
    missing = [slot for slot in slots if slot not in signatures]
    if len(signatures) < certificate.shares_needed:
        raise _refused({slot: answers.get(slot) for slot in missing})
    if missing:
        logger().warning("import-incomplete", key=certificate.key, slots=missing)
    return [signatures[slot] for slot in sorted(signatures)], missing


async def export(fleet: Fleet, key: Key, *, token: str, body: bytes) -> Exported:
    """Sealed shares of every holder that gives its own, at least T; raises NodeRefusal, UnavailableError."""
    certificate = key.certificate
    answers = await _ask(
        fleet, certificate.slots, "export", ExportRequest(token=token, body=body, epoch=certificate.epoch)
    )
    replies = {slot: answer for slot, answer in answers.items() if isinstance(answer, ExportedShare)}
    if len(replies) < certificate.shares_needed:
        raise _most_common(
            answers, f"expected shares of {certificate.shares_needed} nodes, found {len(replies)}", "quorum-unavailable"
        )
    digest = certificate.wrapped_digest
    wrapped = (reply.wrapped for reply in replies.values() if hashlib.sha256(reply.wrapped).digest() == digest)
    return Exported(shares={slot: reply.sealed for slot, reply in replies.items()}, wrapped=next(wrapped, b""))


async def _ask(fleet: Fleet, slots: Sequence[str], verb: str, request: Message) -> dict[str, Any]:
    replies = await asyncio.gather(
        *(fleet.links[slot].call(verb, request, timeout_s=TIMEOUT_S) for slot in slots), return_exceptions=True
    )
    for reply in replies:
        if isinstance(reply, BaseException) and not isinstance(reply, KmsError):
            raise reply
    return dict(zip(slots, replies, strict=True))


def _refused(answers: Mapping[str, Any]) -> Exception:
    """Every holder must accept, so any refusal is the answer; which nodes gave it is said."""
    refusals = {slot: item for slot, item in answers.items() if isinstance(item, NodeRefusal)}
    if not refusals:
        away = ", ".join(sorted(answers))
        return UnavailableError(
            f"every holder of an imported key must take its share; no answer of some of {away}",
            code="import-unfinished",
            hint="send the same upload again, or name other nodes",
        )
    code, _ = Counter(item.code for item in refusals.values()).most_common(1)[0]
    slots = sorted(slot for slot, item in refusals.items() if item.code == code)
    first = refusals[slots[0]]
    return NodeRefusal(f"{', '.join(slots)}: {first.detail}", code=code, slot=slots[0], hint=first.hint)


def _most_common(answers: Mapping[str, Any], detail: str, code: str) -> Exception:
    """The refusal that at least two nodes share (or the only one there is), else that too few are there."""
    refusals = [item for item in answers.values() if isinstance(item, NodeRefusal) and not is_own_state(item.code)]
    counted = Counter(item.code for item in refusals)
    for found, count in counted.most_common(1):
        if count >= AGREEING_MIN or len(refusals) == len(answers):
            return next(item for item in refusals if item.code == found)
    return UnavailableError(detail, code=code)
