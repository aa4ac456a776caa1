"""Opaque secrets among the nodes: hand in an upload, collect nonces for a workload, hand on its sealed shares.

What passes through here is sealed: shares to nodes on their way in, to the workload on their way out.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enclave.certificate import KeyCertificate
from enclave.errors import RefusedError
from enclave.wire.documents import CertificateSignature
from enclave.wire.message import Message
from enclave.wire.secrets import ReleasedShare, SecretChallenge, SecretNonce, SecretPut, SecretRelease
from kms.errors import KmsError, NodeRefusal, UnavailableError
from kms.fleet.attempts import AGREEING_MIN, is_own_state
from kms.fleet.fleet import Fleet
from kms.keys import Key
from kms.observe import logger

TIMEOUT_S = 6.0
"""Longest wait for the nodes: an upload is stored, evidence is verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What a workload needs: sealed shares of at least T nodes, and the wrapped secret."""

    shares: Mapping[str, bytes]
    wrapped: bytes


async def hand_in(
    fleet: Fleet, certificate: KeyCertificate, *, token: str, body: bytes
) -> tuple[list[CertificateSignature], list[str]]:
    """The holders' signatures and the slots that did not take their share.

    Raises NodeRefusal (the request is at fault), UnavailableError (fewer than T took it: send the same body again).
    """
    expected = certificate.body()
    answers = await _ask(fleet, certificate.slots, "secret-put", SecretPut(token=token, body=body))
    signatures = [
        answer for answer in answers.values() if isinstance(answer, CertificateSignature) and answer.body == expected
    ]
    missing = sorted(set(certificate.slots) - {item.slot for item in signatures})
    if len(signatures) < certificate.shares_needed:
        raise _why(answers, f"expected {certificate.shares_needed} nodes to take it, found {len(signatures)}")
    if missing:
        logger().warning("secret-incomplete", key=certificate.key, slots=missing)
    return sorted(signatures, key=lambda item: item.slot), missing


async def nonces_for(fleet: Fleet, key: Key, *, token: str, body: bytes) -> dict[str, SecretNonce]:
    """A nonce of every holder that gives one, at least T; raises NodeRefusal, UnavailableError."""
    answers = await _ask(fleet, key.certificate.slots, "secret-challenge", SecretChallenge(token=token, body=body))
    nonces = {slot: answer for slot, answer in answers.items() if isinstance(answer, SecretNonce)}
    if len(nonces) < key.certificate.shares_needed:
        raise _why(answers, f"expected nonces of {key.certificate.shares_needed} nodes, found {len(nonces)}")
    return nonces


async def release(fleet: Fleet, key: Key, slots: Sequence[str], *, token: str, body: bytes, digest: bytes) -> Released:
    """Shares of those of `slots` that accept the workload, at least T; `digest` is what the wrapped secret hashes to.

    Raises NodeRefusal, RefusedError (`release.evidence`), UnavailableError.
    """
    request = SecretRelease(token=token, body=body, wrapped=True, epoch=key.certificate.epoch)
    answers = await _ask(fleet, [slot for slot in slots if slot in key.index], "secret-release", request)
    replies = {slot: answer for slot, answer in answers.items() if isinstance(answer, ReleasedShare)}
    needed = key.certificate.shares_needed
    if len(replies) < needed:
        raise _why(answers, f"expected shares of {needed} nodes, found {len(replies)}")
    wrapped = next(
        (
            reply.wrapped
            for reply in replies.values()
            if reply.wrapped is not None and hashlib.sha256(reply.wrapped).digest() == digest
        ),
        None,
    )
    if wrapped is None:
        raise UnavailableError("no node gave the wrapped secret its certificate names")
    return Released(shares={slot: reply.sealed for slot, reply in replies.items()}, wrapped=wrapped)


async def _ask(fleet: Fleet, slots: Sequence[str], verb: str, request: Message) -> dict[str, Any]:
    replies = await asyncio.gather(
        *(fleet.links[slot].call(verb, request, timeout_s=TIMEOUT_S) for slot in slots), return_exceptions=True
    )
    for reply in replies:
        if isinstance(reply, BaseException) and not isinstance(reply, KmsError):
            raise reply
    return dict(zip(slots, replies, strict=True))


def _why(answers: Mapping[str, Any], detail: str) -> Exception:
    """The refusal that at least two nodes share (or the only one there is), else that too few are there."""
    refusals = [item for item in answers.values() if isinstance(item, NodeRefusal) and not is_own_state(item.code)]
    counted = Counter(item.code for item in refusals)
    for code, count in counted.most_common(1):
        if count >= AGREEING_MIN or len(refusals) == len(answers):
            return _for_caller(next(item for item in refusals if item.code == code))
    return UnavailableError(detail, hint="`kms nodes list` shows which nodes are away; ask again with the same content")


def _for_caller(refusal: NodeRefusal) -> Exception:
    """What the verifier says of a workload's evidence is the caller's business, under one code."""
    if refusal.code.startswith(_OUR_FAMILIES):
        return refusal
    return RefusedError(f"{refusal.code}: {refusal.detail}", code="release.evidence", hint=refusal.hint)


_OUR_FAMILIES = (
    "token.", "secret.", "release.", "policy.", "key.", "agent.", "credential.", "operator.", "payload.", "json.",
    "id.", "name.", "proof-of-cloud.", "share.", "frozen.", "budget.", "rate.", "ledger.", "point.", "wire.",
    "internal",
)  # fmt: skip
"""Codes that mean the same wherever they come up; everything else here is about evidence."""
