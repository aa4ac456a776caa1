"""Ends a session that nobody drives any more, from nothing but what its participants say of it.

Steps: 1 ask every participant how far it got; 2 a commit certificate anywhere goes to all; 3 whoever has not prepared
is asked to abort, and one abort frees the rest; 4 if all have prepared, their messages are the commit.  Where a
participant is silent and the others have prepared, nobody may decide: it is tried again when that one is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from enclave.wire.ceremonies import CeremonyDiscard, CeremonyMessage, CeremonyQuery, CeremonyStanding
from kms.errors import KmsError, UnavailableError
from kms.fleet.fleet import Fleet
from kms.fleet.witnessing import call_witnessed
from kms.observe import logger

ANSWER_TIMEOUT_S = 10.0
"""A node syncs its disk before it aborts."""


async def resolve(fleet: Fleet, session: bytes, slots: Sequence[str]) -> list[CeremonyMessage] | None:
    """The messages of the commit certificate, still to be delivered, or None once the session is aborted everywhere.

    Raises UnavailableError (`ceremony-unresolved`) while nobody can tell.
    """
    query = CeremonyQuery(session=session)
    # 1
    standings = await _ask(fleet, slots, "ceremony-standing", query)
    known = {slot: item for slot, item in standings.items() if isinstance(item, CeremonyStanding)}
    # 2
    committed = next((item for item in known.values() if item.state == "committed"), None)
    if committed is not None:
        return committed.certificate
    # 3
    prepared = {slot: item.certificate[0] for slot, item in known.items() if item.state == "prepared"}
    open_slots = [slot for slot in known if slot not in prepared]
    aborts = await _ask(fleet, open_slots, "ceremony-abort", query)
    abort = next((item for item in aborts.values() if isinstance(item, CeremonyMessage)), None)
    if abort is not None:
        delivered = await _ask(fleet, list(known), "ceremony-discard", CeremonyDiscard(session=session, message=abort))
        for slot, answer in delivered.items():
            if isinstance(answer, KmsError):
                logger().warning("abort-refused", slot=slot, session=session.hex()[:16], code=answer.code)
        return None
    # 4
    if set(prepared) == set(slots):
        return [prepared[slot] for slot in slots]
    raise UnavailableError(
        f"{', '.join(sorted(set(slots) - set(prepared)))} may have prepared and cannot be asked",
        code="ceremony-unresolved",
        hint="it is tried again when they are back; after ten minutes the others stop using the keys",
    )


async def _ask(fleet: Fleet, slots: Sequence[str], verb: str, message: Any) -> dict[str, Any]:
    replies = await asyncio.gather(
        *(
            call_witnessed(fleet, slot, verb, message, timeout_s=ANSWER_TIMEOUT_S)
            for slot in slots
            if slot in fleet.links
        ),
        return_exceptions=True,
    )
    return dict(zip([slot for slot in slots if slot in fleet.links], replies, strict=True))
