"""A gateway that lies: forwards to the real one and rewrites chosen answers on their way back.

The real nodes, their evidence and their certificates stay what they are, so each test changes exactly
one thing and sees whether the client notices that one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

Rewrite = Callable[[str, Any], Any]
"""(path, parsed answer) -> changed answer."""

BODY_BYTES_MAX = 2 << 20
"""Above the API's own limit, so that this stand-in never refuses first."""


class HostileGateway:
    """Counts what it forwards; `rewrite_json` and `rewrite_bytes` change answers, `redirect` asks for other paths."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.rewrite_json: Rewrite | None = None
        self.rewrite_bytes: Callable[[str, bytes], bytes] | None = None
        self.redirect: Callable[[str], str] | None = None
        self.seen: list[tuple[str, str, bytes]] = []
        """(method, path, answer) of every exchange."""

    async def _forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, self._upstream + self._target(request), data=body or None, headers=headers
            ) as answer,
        ):
            content, status, kind = await answer.read(), answer.status, answer.content_type
        if status < 300 and self.rewrite_bytes is not None:
            content = self.rewrite_bytes(request.path, content)
        if status < 300 and self.rewrite_json is not None and content[:1] == b"{":
            content = json.dumps(self.rewrite_json(request.path, json.loads(content))).encode()
        self.seen.append((request.method, request.path, content))
        return web.Response(status=status, body=content, content_type=kind)

    def _target(self, request: web.Request) -> str:
        path = self.redirect(request.path) if self.redirect is not None else request.path
        return path + ("?" + request.query_string if request.query_string else "")


@asynccontextmanager
async def hostile_gateway(upstream: str) -> AsyncIterator[tuple[HostileGateway, str]]:
    """The proxy and its URL."""
    gateway = HostileGateway(upstream)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_route("*", "/{path:.*}", gateway._forward)
    async with TestServer(app) as server:
        yield gateway, str(server.make_url("")).rstrip("/")
