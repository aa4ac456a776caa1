"""Waiting requests among the nodes: park everywhere, fetch statements, hand over approvals, end.

What nodes say about a request is believed once a signing quorum says the same; everything is sent to every holder,
because any of them may be asked to execute, and any of them can hold up what has ended.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from enclave.wire.approvals import (
    Approval,
    ApprovedRequest,
    CancelRequest,
    Granted,
    Parked,
    ParkedRequest,
    ParkRequest,
    RejectRequest,
)
from enclave.wire.message import Empty, Message
from kms.errors import KmsError, NodeRefusal, UnavailableError
from kms.fleet.attempts import is_own_state
from kms.fleet.fleet import Fleet
from kms.keys import Key

TIMEOUT_S = 6.0
"""Longest wait for the nodes: a parked request is on their disks before they answer."""


async def park(fleet: Fleet, key: Key, *, token: str, body: bytes) -> list[Parked]:
    """The statements of every node that verified the request, at least a signing quorum of the same content.

    Raises NodeRefusal, UnavailableError.
    """
    answers = await ask_holders(fleet, key, "park", ParkRequest(token=token, body=body))
    alike: dict[tuple[bytes, int], list[Parked]] = defaultdict(list)
    for answer in answers.values():
        if isinstance(answer, Parked):
            alike[answer.fingerprint, answer.expires_at].append(answer)
    most = max(alike.values(), key=len, default=[])
    if len(most) < key.certificate.signing_quorum:
        raise why(answers, f"expected {key.certificate.signing_quorum} nodes to park the request, found {len(most)}")
    return most


async def hand_over(
    fleet: Fleet, key: Key, *, token: str, body: bytes, request_id: bytes, approvals: Sequence[Approval]
) -> list[str]:
    """The slots that will execute the request now, at least a signing quorum; raises NodeRefusal, UnavailableError."""
    needed = key.certificate.signing_quorum
    said = await ask_holders(fleet, key, "parked", ParkedRequest(request_id=request_id))
    statements = [answer for answer in said.values() if isinstance(answer, Parked)]
    if len(statements) < needed:
        raise why(said, f"expected {needed} nodes that parked the request, found {len(statements)}")
    request = ApprovedRequest(token=token, body=body, statements=statements, approvals=list(approvals))
    answers = await ask_holders(fleet, key, "approved", request)
    granted = [slot for slot, answer in answers.items() if isinstance(answer, Granted)]
    if len(granted) < needed:
        raise why(answers, f"expected {needed} nodes to take the approvals, found {len(granted)}")
    return granted


async def reject(fleet: Fleet, key: Key, *, request_id: bytes, rejection: Approval) -> list[str]:
    """The slots that ended the request."""
    return await _end(fleet, key, "reject", RejectRequest(request_id=request_id, rejection=rejection))


async def cancel(fleet: Fleet, key: Key, *, request_id: bytes, token: str) -> list[str]:
    """The slots that ended the request."""
    return await _end(fleet, key, "cancel", CancelRequest(request_id=request_id, token=token))


async def _end(fleet: Fleet, key: Key, verb: str, request: Message) -> list[str]:
    answers = await ask_holders(fleet, key, verb, request)
    ended = [slot for slot, answer in answers.items() if isinstance(answer, Empty)]
    if not ended:
        raise why(answers, "no node that parked the request could be reached")
    return ended


async def ask_holders(fleet: Fleet, key: Key, verb: str, request: Message) -> dict[str, Any]:
    """What every holder of the key answers: a reply, or the error instead of it."""
    slots = key.certificate.slots
    known = [slot for slot in slots if slot in fleet.links]
    replies = await asyncio.gather(
        *(fleet.links[slot].call(verb, request, timeout_s=TIMEOUT_S) for slot in known), return_exceptions=True
    )
    for reply in replies:
        if isinstance(reply, BaseException) and not isinstance(reply, KmsError):
            raise reply
    return dict(zip(known, replies, strict=True))


def why(answers: Mapping[str, Any], detail: str) -> KmsError:
    """The refusal most nodes share, if it is about the request; else that too few are there."""
    refusals = [item for item in answers.values() if isinstance(item, NodeRefusal) and not is_own_state(item.code)]
    codes = [item.code for item in refusals if item.code != "approval.unknown"]
    if codes:
        common = max(set(codes), key=codes.count)
        return next(item for item in refusals if item.code == common)
    return UnavailableError(detail, hint="`kms nodes list` shows which nodes are away")
