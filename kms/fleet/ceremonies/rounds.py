"""Carries a ceremony's messages between its participants up to everybody's prepare, or gives it up everywhere.

Rules kept (specs/ceremonies.md section 4): a failure before all have prepared is followed by asking every participant
for its word; one abort frees those that have prepared, all prepares are a commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from attestation.errors import CodedError
from enclave.ceremonies.audit import read_proof, verify_proof
from enclave.ceremonies.facts import Kind
from enclave.wire.ceremonies import CeremonyMessage, CeremonyQuery, CeremonyRound, CeremonyStart
from enclave.wire.message import Message
from kms.errors import KmsError, NodeRefusal, UnavailableError
from kms.fleet.ceremonies.resolve import resolve
from kms.fleet.fleet import Fleet
from kms.fleet.witnessing import call_witnessed
from kms.observe import logger

PREPARE_ROUNDS = {Kind.DKG: 3, Kind.REFRESH: 3, Kind.RESHARE: 3, Kind.ROTATE: 3, Kind.REPAIR: 4}
"""The round whose messages are the prepares."""

ROUND_TIMEOUT_S = 30.0
"""Longest wait for one round about one key: seconds of arithmetic for 7-of-10 on a loaded machine."""

BATCH_TIMEOUT_S = 120.0
"""The same for many keys, which nodes work on between the requests they serve."""


async def drive(fleet: Fleet, start: CeremonyStart) -> CeremonyRound:
    """The commit certificate; raises UnavailableError, NodeRefusal once the attempt is given up."""
    slots = start.participants
    last = PREPARE_ROUNDS[Kind(start.kind)]
    timeout_s = ROUND_TIMEOUT_S if len(start.sources) <= 1 else BATCH_TIMEOUT_S
    try:
        messages = await _round(fleet, slots, "ceremony-start", start, timeout_s)
        for number in range(2, last + 1):
            following = CeremonyRound(session=start.session, round=number, messages=messages)
            messages = await _round(fleet, slots, "ceremony-round", following, timeout_s)
    except BaseException:
        # Also when this gateway stops or the client goes: nodes that prepared must not wait for a relay that forgot.
        prepares = await asyncio.shield(_given_up(fleet, start.session, slots))
        if prepares is None:
            raise
        messages = prepares
    return CeremonyRound(session=start.session, round=last + 1, messages=messages)


async def ask(
    fleet: Fleet, slots: Sequence[str], verb: str, message: Message, *, timeout_s: float = ROUND_TIMEOUT_S
) -> Mapping[str, Any]:
    """Every node's answer or failure."""
    replies = await asyncio.gather(
        *(call_witnessed(fleet, slot, verb, message, timeout_s=timeout_s) for slot in slots if slot in fleet.links),
        return_exceptions=True,
    )
    return dict(zip([slot for slot in slots if slot in fleet.links], replies, strict=True))


async def _given_up(fleet: Fleet, session: bytes, slots: Sequence[str]) -> list[CeremonyMessage] | None:
    """The prepares after all, if everybody has prepared."""
    try:
        return await resolve(fleet, session, slots)
    except KmsError as error:
        logger().warning("ceremony-unresolved", session=session.hex()[:16], code=error.code)
        return None


async def _round(
    fleet: Fleet, slots: Sequence[str], verb: str, message: Message, timeout_s: float
) -> list[CeremonyMessage]:
    """Every participant's message; the first failure ends the attempt."""
    answers = await ask(fleet, slots, verb, message, timeout_s=timeout_s)
    failures = {slot: answer for slot, answer in answers.items() if isinstance(answer, BaseException)}
    if failures:
        raise await _proven(fleet, message, worst(failures))
    return [answer for answer in answers.values() if isinstance(answer, CeremonyMessage)]


async def _proven(fleet: Fleet, message: Message, failure: BaseException) -> BaseException:
    """The failure, with the culprits it names only if the accuser's proof holds."""
    session: bytes = getattr(message, "session", b"")
    if not isinstance(failure, NodeRefusal) or not failure.culprits:
        return failure
    identities = {slot: link.status.identity_key for slot, link in fleet.links.items() if link.status is not None}
    try:
        answer = await fleet.links[failure.slot].call("ceremony-proof", CeremonyQuery(session=session))
        proof = read_proof(answer.proof)
        verify_proof(proof, identities)
    except CodedError as error:
        logger().warning("culprit-unproven", slot=failure.slot, culprits=list(failure.culprits), code=error.code)
        return NodeRefusal(failure.detail, code=failure.code, slot=failure.slot, hint=failure.hint)
    logger().error(
        "culprit-proven", culprits=[proof.culprit], slot=failure.slot, code=proof.code, session=session.hex()[:16]
    )
    fleet.links[proof.culprit].note_misbehaviour()
    return failure


def worst(failures: Mapping[str, BaseException]) -> BaseException:
    """The failure that says most: a defect of ours, a proven culprit, a refusal, then a lost node."""
    for slot, failure in failures.items():
        logger().warning("ceremony-failed", slot=slot, code=getattr(failure, "code", type(failure).__name__))
    defects = [item for item in failures.values() if not isinstance(item, KmsError)]
    refusals = [item for item in failures.values() if isinstance(item, NodeRefusal)]
    named = [item for item in refusals if item.culprits]
    if defects or named or refusals:
        return (defects or named or refusals)[0]
    return UnavailableError(
        f"lost {', '.join(failures)} during the ceremony; nothing was changed",
        code="ceremony-unavailable",
        hint="send the order again with a fresh token",
    )
