"""Partial decryptions of one ciphertext: sealed ones are handed on, clear ones are combined here.

With a recipient the nodes seal their partials to it and this program learns nothing.  Without one
(edge requests, which policy must allow) it sees the plaintext, returns it and keeps none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from enclave.errors import CallerError, PeerError
from enclave.payload.decrypt import DecryptBody
from enclave.threshold import hpke
from enclave.wire.decrypt import PartialReply, PartialRequest
from kms.errors import UnavailableError
from kms.fleet.attempts import ATTEMPTS_MAX, Trouble
from kms.fleet.fleet import Fleet
from kms.keys import Key
from kms.observe import logger

PARTIAL_TIMEOUT_S = 4.0
"""Longest wait for one attempt's partials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPartial:
    """One node's partial, sealed to the request's recipient."""

    slot: str
    index: int
    sealed: bytes
    boot_counter: int
    signature: bytes
    """Of the node, if the request wants proofs."""


async def sealed_partials(
    fleet: Fleet, key: Key, *, token: str, body: bytes, without: tuple[str, ...] = (), item: int | None = None
) -> list[SealedPartial]:
    """Partials of a quorum for the recipient named in `body`; raises NodeRefusal, UnavailableError.

    `without` are the slots that the same body excludes.
    """
    trouble = Trouble(excluded=set(without))
    for _ in range(ATTEMPTS_MAX):
        _, answers = await _ask(fleet, key, trouble, token, body, item)
        if answers is None:
            continue
        missing = [slot for slot, reply in answers.items() if reply.sealed is None]
        if missing:
            trouble.blame(fleet, missing)
            continue
        return [
            SealedPartial(
                slot=slot,
                index=key.index[slot],
                sealed=reply.sealed or b"",
                boot_counter=reply.boot_counter,
                signature=reply.signature,
            )
            for slot, reply in answers.items()
        ]
    raise trouble.exhausted()


async def open_here(
    fleet: Fleet, key: Key, *, token: str, body: bytes, request: DecryptBody, item: int | None = None
) -> tuple[bytes, list[str]]:
    """The plaintext of the request parsed from `body`, and the slots that helped.

    A failed opening may be the ciphertext's fault or a lying node's.  With proofs in the request the liar is named
    and the ciphertext cleared of blame, or the other way round.  Without, other sets are tried first, and then every
    failure is the one CallerError (`decrypt.failed`); with one liar among five holders of a 3-of-5 key the third set
    is honest.
    """
    trouble = Trouble(excluded=set(request.without))
    used: list[list[str]] = []
    for attempt in range(1, ATTEMPTS_MAX + 1):
        slots, answers = await _ask(fleet, key, trouble, token, body, item)
        if answers is None:
            continue
        if slots in used:
            break  # nobody else is there to be asked
        used.append(slots)
        try:
            dh = hpke.combine({key.index[slot]: reply.partial or b"" for slot, reply in answers.items()})
            plaintext = hpke.open(dh, request.enc, request.ciphertext, key.certificate.public_key, request.info)
            return plaintext, slots
        except PeerError as error:
            culprits = [slot for slot in slots if str(key.index[slot]) in error.culprits]
            logger().error("bad-partial", key=key.key, culprits=culprits, attempt=attempt)
            trouble.blame(fleet, culprits)
        except CallerError:
            logger().info("opening-failed", key=key.key, slots=slots, attempt=attempt)
            if request.proofs:
                wrong = _unproven(key, request.enc, answers)
                if not wrong:
                    break  # every partial is right: the ciphertext is not
                logger().error("bad-partial", key=key.key, culprits=wrong, attempt=attempt)
                trouble.blame(fleet, wrong)
            else:
                trouble.doubt(slots)
    if used:
        raise CallerError("ciphertext does not open", code="decrypt.failed")
    raise trouble.exhausted()


def _unproven(key: Key, enc: bytes, answers: Mapping[str, PartialReply]) -> list[str]:
    """Slots whose partial is not proven."""
    wrong = []
    ids = [key.index[slot] for slot in answers]
    for slot, reply in answers.items():
        try:
            hpke.verify_partial(
                reply.partial or b"",
                index=key.index[slot],
                ids=ids,
                enc=enc,
                public_share=key.public_shares[key.index[slot]],
                proof=reply.proof or b"",
            )
        except (PeerError, CallerError):
            wrong.append(slot)
    return wrong


async def _ask(
    fleet: Fleet, key: Key, trouble: Trouble, token: str, body: bytes, item: int | None
) -> tuple[list[str], dict[str, PartialReply] | None]:
    """One attempt: the set asked, and its replies if all gave one."""
    needed = key.certificate.signing_quorum
    try:
        holders = key.certificate.slots
        chosen = fleet.choose(holders, needed, excluded=trouble.excluded, preferred=trouble.preferred(holders))
    except UnavailableError as error:
        raise trouble.exhausted(error) from None
    slots = key.in_order(chosen)
    request = PartialRequest(token=token, body=body, signers=slots, epoch=key.certificate.epoch, item=item)
    replies = await asyncio.gather(
        *(fleet.links[slot].call("partial", request, timeout_s=PARTIAL_TIMEOUT_S) for slot in slots),
        return_exceptions=True,
    )
    answers = dict(zip(slots, replies, strict=True))
    if not await trouble.absorb(fleet, answers):
        return slots, None
    return slots, {slot: reply for slot, reply in answers.items() if isinstance(reply, PartialReply)}
