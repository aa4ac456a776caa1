"""What a client does when the gateway rations evidence."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kms.client import UnavailableError
from kms.client import verification as module
from kms.client.transport import Transport


@pytest.mark.parametrize(("refusals", "asked"), [(2, 3), (99, module.EVIDENCE_ATTEMPTS)])
async def test_rationed_evidence_is_asked_for_again(refusals: int, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 429 the client waits and asks again a few times, then says that it is unavailable."""
    count = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal count
        count += 1
        if count <= refusals:
            return web.json_response({"code": "rate-limited", "detail": "too many"}, status=429)
        return web.json_response({"code": "node-unavailable", "detail": "gone"}, status=503)

    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    app = web.Application()
    app.router.add_get("/v1/nodes/node-1/evidence", answer)
    async with TestServer(app) as server, Transport(str(server.make_url(""))) as transport:
        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "sleep", sleep)
            with pytest.raises(UnavailableError) as caught:
                await module._fetch_presentation(transport, "node-1", bytes(32))
    assert count == asked
    assert caught.value.code == ("node-unavailable" if refusals < asked else "rate-limited")
    assert all(0.5 <= seconds <= 1.5 for seconds in waits)
