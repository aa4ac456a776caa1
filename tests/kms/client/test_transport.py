"""The HTTP layer against a small real server: problems, foreign answers, limits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kms.client import ConfigurationError, RequestRefusedError, UnavailableError
from kms.client.transport import Transport


async def _answer(request: web.Request) -> web.Response:
    what = request.match_info["what"]
    if what == "echo":
        return web.json_response({"body": (await request.read()).decode(), "auth": request.headers["Authorization"]})
    if what == "problem":
        problem = {"code": "policy.denied", "detail": "no", "hint": "ask", "request_id": "r1", "culprits": ["node-2"]}
        return web.Response(status=403, body=json.dumps(problem), content_type="application/problem+json")
    if what == "escape":
        return web.json_response({"code": "x", "detail": "\x1b]0;owned\x07no\x1b[2J"}, status=403)
    if what == "busy":
        return web.json_response({"code": "quorum-unavailable", "detail": "two of three"}, status=503)
    if what == "page":
        return web.Response(status=502, text="<html>bad gateway</html>")
    if what == "redirect":
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
    if what == "large":
        return web.Response(body=b"[" + b" " * 5000 + b"]")
    return web.Response(text='{"a": 1, "a": 2}')


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    """A transport to the server above."""
    app = web.Application()
    app.router.add_route("*", "/{what}", _answer)
    async with TestServer(app) as server, Transport(str(server.make_url("/"))) as transport:
        yield transport


async def test_body_goes_out_byte_for_byte(transport: Transport) -> None:
    """The server receives exactly the body bytes that the token covers."""
    body = b'{ "kind" :"x"}\n'
    answer = await transport.json("POST", "/echo", body=body, token="t")
    assert answer == {"body": body.decode(), "auth": "Bearer t"}


async def test_problem_becomes_a_typed_error(transport: Transport) -> None:
    """A problem's code, detail, hint, request id and culprits arrive in the error."""
    with pytest.raises(RequestRefusedError) as caught:
        await transport.json("GET", "/problem")
    error = caught.value
    assert (error.code, error.detail, error.hint) == ("policy.denied", "no", "ask")
    assert (error.status, error.request_id, error.culprits) == (403, "r1", ("node-2",))
    assert not error.unavailable


async def test_terminal_escapes_do_not_travel(transport: Transport) -> None:
    """Control characters in a problem's text are replaced: errors are printed on people's terminals."""
    with pytest.raises(RequestRefusedError) as caught:
        await transport.json("GET", "/escape")
    assert caught.value.detail == "?]0;owned?no?[2J"


async def test_unavailable_keeps_its_code(transport: Transport) -> None:
    """A 503 is told apart as unavailable and keeps the gateway's code."""
    with pytest.raises(UnavailableError) as caught:
        await transport.json("GET", "/busy")
    assert caught.value.code == "quorum-unavailable"
    assert caught.value.unavailable


async def test_foreign_error_page(transport: Transport) -> None:
    """A proxy's HTML page becomes an error with the status, not a parser failure."""
    with pytest.raises(UnavailableError, match="502"):
        await transport.json("GET", "/page")


async def test_redirects_are_not_followed(transport: Transport) -> None:
    """A redirect is an error: a token is for this gateway only."""
    with pytest.raises(RequestRefusedError, match="302"):
        await transport.json("GET", "/redirect")


async def test_ambiguous_json_is_refused(transport: Transport) -> None:
    """An answer with a repeated key is refused rather than read one way or the other."""
    with pytest.raises(UnavailableError, match="repeats a key"):
        await transport.json("GET", "/twice")


async def test_answer_size_is_bounded(transport: Transport) -> None:
    """An answer above the limit is cut off instead of filling memory."""
    with pytest.raises(UnavailableError) as caught:
        await transport.send("GET", "/large", bytes_max=1000)
    assert caught.value.code == "unavailable.too-large"


async def test_nobody_listens() -> None:
    """A refused connection is unavailable and says how to start a gateway."""
    async with Transport("http://127.0.0.1:1") as transport:
        with pytest.raises(UnavailableError) as caught:
            await transport.send("GET", "/")
    assert caught.value.code == "unavailable.connection"
    assert "kms dev" in (caught.value.hint or "")


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8750", "http://"])
def test_bad_urls(url: str) -> None:
    """A URL that is not http or https with a host is a configuration error."""
    with pytest.raises(ConfigurationError):
        Transport(url)
