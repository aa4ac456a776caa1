"""GET /v1/events: server-sent events of the audit chain, from any position on, without gaps."""

from __future__ import annotations

import asyncio
import random
import time

from aiohttp import web

from enclave.roster import Role
from enclave.tokens import Act
from kms.endpoint import Answer, Context, Endpoint, Parameter
from kms.errors import RequestError
from kms.events import EventFeed, sees_of

LOOK_S = 0.5
"""How often a stream looks for news, in seconds."""

QUIET_S = 15.0
"""After so long without news a comment line shows that the stream lives."""

LIFETIME_S = 3600.0
"""A stream ends after so long; the client comes back with its last position and a fresh token."""

POSITION_MAX = 2**53 - 1

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "Server": "holdfast",
}


async def stream(context: Context) -> Answer:
    """Tell what happens until the client leaves, its credential ends or an hour is over."""
    gateway, call = context.gateway, context.caller
    gateway.admissions.require_resource(call, "*")
    assert context.request is not None
    position = _position(context, gateway.store.audit_position)
    gateway.events.join(call.principal, is_operator=gateway.directory.is_operator(call.principal))
    response = web.StreamResponse(headers=_HEADERS)
    try:
        await response.prepare(context.request)
        await response.write(b"retry: 1000\n\n")
        await _tell(context, gateway.events, response, position)
    except (ConnectionResetError, asyncio.CancelledError):
        # The client left: nothing is lost, it knows its position.
        pass
    finally:
        gateway.events.leave(call.principal)
    return Answer(body=b"", stream=response)


async def _tell(context: Context, feed: EventFeed, response: web.StreamResponse, position: int) -> None:
    call, directory = context.caller, context.gateway.directory
    started = told_at = time.monotonic()
    # A phase of its own: a thousand streams that woke together would hold up every signature beside them.
    await asyncio.sleep(LOOK_S * random.random())  # noqa: S311 - spreads load, guards nothing
    while not feed.is_closed and time.monotonic() - started < LIFETIME_S:
        # Asked anew each time: a roster can take the role away while the stream lasts.
        is_auditor = bool(directory.roles(call.principal) & {Role.AUDITOR, Role.ADMIN})
        position, text = await feed.after(position, sees_of(call.principal, is_auditor=is_auditor))
        now = time.monotonic()
        if text or now - told_at > QUIET_S:
            await response.write(text or b": still here\n\n")
            told_at = now
        if position < feed.head:
            continue
        transport = context.request.transport if context.request is not None else None
        if transport is None or transport.is_closing() or not directory.counts(call.principal, call.token.kid):
            return
        await asyncio.sleep(LOOK_S)


def _position(context: Context, newest: int) -> int:
    """Where to begin: header Last-Event-ID, else parameter `after`, else with what happens from now on."""
    assert context.request is not None
    given = context.request.headers.get("Last-Event-ID", context.query.get("after"))
    if given is None:
        return newest
    if not given.isascii() or not given.isdecimal() or len(given) > 16 or int(given) > POSITION_MAX:
        raise RequestError("expected the position of an event", code="request.after")
    return int(given)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/events", summary="What happens, as server-sent events", handler=stream,
        act=Act.EVENTS_READ, tag="audit", media="text/event-stream", informative=True,
        parameters=(
            Parameter(
                name="after", schema={"type": "integer", "minimum": 0, "maximum": POSITION_MAX},
                description="position of the last event seen; the header Last-Event-ID goes first",
            ),
        ),
    ),
)  # fmt: skip
