"""One threshold ECDSA signature: four relayed rounds among exactly 2T - 1 nodes (specs/threshold-ecdsa.md).

All chosen nodes must answer; a failure ends the attempt everywhere and the next one begins with everything
fresh.  Rows between nodes pass through here sealed; what is learnt is the signature.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from enclave.errors import EnclaveError
from enclave.threshold.ecdsa.finish import finish
from enclave.threshold.ecdsa.session import Session
from enclave.wire import EcdsaAbort, EcdsaMessage, EcdsaRound, EcdsaStart, Message
from kms.errors import NodeRefusal, UnavailableError
from kms.fleet.attempts import ATTEMPTS_MAX, Trouble
from kms.fleet.attestation import AttestationRelay
from kms.fleet.ecdsa_signature import EcdsaSignature, verified
from kms.fleet.fleet import Fleet
from kms.keys import Key
from kms.observe import logger

ROUND_TIMEOUT_S = 3.0
"""Longest wait for one round; nodes keep an attempt for ten seconds."""

RELEASE_ROUND = 4


async def sign_threshold_ecdsa(
    fleet: Fleet, relay: AttestationRelay, key: Key, *, token: str, body: bytes, digest: bytes
) -> EcdsaSignature:
    """The signature over `digest`, which the nodes derive themselves from `body`.

    Raises NodeRefusal (what the nodes say), UnavailableError.
    """
    trouble = Trouble()
    certificate = key.certificate
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            chosen = fleet.choose(certificate.slots, certificate.signing_quorum, excluded=trouble.excluded)
        except UnavailableError as error:
            raise trouble.exhausted(error) from None
        slots = key.in_order(chosen)
        await asyncio.gather(*(relay.ensure_channels(slots, receiver) for receiver in slots))
        start = EcdsaStart(token=token, body=body, signers=slots, attempt=attempt)
        released = await _rounds(fleet, relay, trouble, slots, start)
        if released is None:
            continue
        session = Session(
            session=released[0].session,
            slots={key.index[slot]: slot for slot in slots},
            threshold=certificate.shares_needed,
            public_key=certificate.public_key,
            digest=digest,
        )
        try:
            signature, recovery_id = finish(session, {key.index[item.slot]: item.payload for item in released})
        except EnclaveError as error:
            logger().error("release-failed", key=key.key, code=error.code, slots=slots, attempt=attempt)
            trouble.blame(fleet, [slot for slot in error.culprits if slot in slots])
            trouble.excluded.update(_rotated(slots, attempt) if not error.culprits else ())
            continue
        found = verified(signature, recovery_id, certificate.public_key, digest)
        if found is not None:
            r, s, parity = found
            return EcdsaSignature(
                r=r, s=s, y_parity=parity, signers=tuple(slots), culprits=tuple(sorted(trouble.culprits))
            )
    raise trouble.exhausted()


async def _rounds(
    fleet: Fleet, relay: AttestationRelay, trouble: Trouble, slots: Sequence[str], start: EcdsaStart
) -> list[EcdsaMessage] | None:
    """The releases, or None after a failure that another attempt may not meet."""
    messages = await _round(fleet, relay, trouble, slots, "ecdsa-start", start)
    for number in range(2, RELEASE_ROUND + 1):
        if messages is None:
            return None
        following = EcdsaRound(session=messages[0].session, round=number, messages=messages)
        messages = await _round(fleet, relay, trouble, slots, "ecdsa-round", following)
    return messages


async def _round(
    fleet: Fleet, relay: AttestationRelay, trouble: Trouble, slots: Sequence[str], verb: str, request: Message
) -> list[EcdsaMessage] | None:
    replies = await asyncio.gather(
        *(fleet.links[slot].call(verb, request, timeout_s=ROUND_TIMEOUT_S) for slot in slots), return_exceptions=True
    )
    answers = dict(zip(slots, replies, strict=True))
    messages = [answer for answer in replies if isinstance(answer, EcdsaMessage)]
    if len(messages) == len(slots):
        return messages
    await _give_up(fleet, answers, request)
    for slot, answer in answers.items():
        if isinstance(answer, NodeRefusal):
            trouble.blame(fleet, [culprit for culprit in answer.culprits if culprit in slots])
            if answer.code.startswith("channel."):
                for other in slots:
                    relay.forget_channels(slots, other)
                answers = {name: item for name, item in answers.items() if name != slot}
    await trouble.absorb(fleet, answers)
    return None


async def _give_up(fleet: Fleet, answers: Mapping[str, Any], request: Message) -> None:
    """Let those that still hold the attempt wipe it at once instead of at its end."""
    sessions = {getattr(answer, "session", None) for answer in answers.values()}
    sessions.add(getattr(request, "session", None))
    for session in sessions - {None}:
        assert isinstance(session, bytes)
        await asyncio.gather(
            *(fleet.links[slot].call("ecdsa-abort", EcdsaAbort(session=session)) for slot in answers),
            return_exceptions=True,
        )


def _rotated(slots: Sequence[str], attempt: int) -> list[str]:
    """Whom to leave out when nobody can be named: another one each time."""
    return [slots[attempt % len(slots)]]
