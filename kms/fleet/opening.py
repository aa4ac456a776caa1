"""Opening inside an enclave: nodes send their partial results, sealed, to the node the request names.

Steps (specs/threshold-decryption.md section 7): 1 choose holders that trust the named node and each other; 2 make sure
every sender has a session to it; 3 collect the sealed rows; 4 have it open.  Neither partial results nor plaintext pass
through here in clear; what comes out is sealed to the recipient or key in the request.
"""

from __future__ import annotations

import asyncio

from enclave.wire.decrypt import OpenReply, OpenRequest, PartialReply, PartialRequest, SealedRow
from kms.errors import KmsError, NodeRefusal, UnavailableError
from kms.fleet.attempts import ATTEMPTS_MAX, Trouble
from kms.fleet.attestation import AttestationRelay
from kms.fleet.fleet import Fleet
from kms.keys import Key

ROW_TIMEOUT_S = 4.0
"""Longest wait for the rows of one attempt; the same again for opening."""


async def open_inside(
    fleet: Fleet,
    relay: AttestationRelay,
    key: Key,
    *,
    token: str,
    body: bytes,
    opener: str,
    without: tuple[str, ...] = (),
    item: int | None = None,
) -> tuple[OpenReply, list[str]]:
    """What the node `opener` sealed again, and the slots that helped; raises NodeRefusal, UnavailableError.

    A wrong partial result is named by its proof and costs an attempt; a ciphertext that does not open is the answer
    of the one node that may open it.
    """
    trouble = Trouble(excluded=set(without))
    again: list[str] | None = None
    for _ in range(ATTEMPTS_MAX):
        try:
            slots = again or _choose(fleet, key, opener, trouble)
        except UnavailableError as error:
            raise trouble.exhausted(error) from None
        again = None
        senders = [slot for slot in slots if slot != opener]
        await relay.ensure_channels(senders, opener)
        epoch = key.certificate.epoch
        request = PartialRequest(token=token, body=body, signers=slots, epoch=epoch, item=item)
        replies: list[object] = await asyncio.gather(
            *(fleet.links[slot].call("partial", request, timeout_s=ROW_TIMEOUT_S) for slot in senders),
            return_exceptions=True,
        )
        answers = dict(zip(senders, replies, strict=True))
        closed = [slot for slot, answer in answers.items() if getattr(answer, "code", "") == "channel.missing"]
        if not await trouble.absorb(fleet, {slot: answer for slot, answer in answers.items() if slot not in closed}):
            continue
        if closed:
            relay.forget_channels(closed, opener)
            again = slots
            continue
        rows = [
            SealedRow(slot, answer.row or b"") for slot, answer in answers.items() if isinstance(answer, PartialReply)
        ]
        request_open = OpenRequest(token=token, body=body, signers=slots, rows=rows, epoch=epoch, item=item)
        made = await _open(fleet, opener, request_open)
        if isinstance(made, OpenReply):
            return made, slots
        if isinstance(made, NodeRefusal):
            culprits = [slot for slot in made.culprits if slot in senders]
            trouble.blame(fleet, culprits)
            if made.code.startswith("channel.") or made.code == "share.unreadable":
                relay.forget_channels(senders, opener)
                again = slots if made.code == "channel.unknown" else None
                continue
            if culprits:
                continue
            if made.code == "decrypt.failed":
                raise made
        await trouble.absorb(fleet, {opener: made})
        if opener in trouble.excluded:
            break
    raise trouble.exhausted()


def _choose(fleet: Fleet, key: Key, opener: str, trouble: Trouble) -> list[str]:
    """Step 1: the named node takes part with its own share, so that one row less has to travel."""
    certificate = key.certificate
    if opener not in fleet.links or not fleet.links[opener].usable:
        raise UnavailableError(
            f"{opener} cannot be reached", hint="the request names it to open; name another holder of the key"
        )
    return key.in_order(
        fleet.choose(
            certificate.slots,
            certificate.signing_quorum,
            excluded=trouble.excluded,
            preferred=[opener],
            trusting=[opener],
        )
    )


async def _open(fleet: Fleet, opener: str, request: OpenRequest) -> object:
    """Step 4: a reply, or the error instead of it."""
    try:
        return await fleet.links[opener].call("open", request, timeout_s=ROW_TIMEOUT_S)
    except KmsError as error:
        return error
