"""HTTP around the endpoints: request ids, sizes, tokens, answers and problems, alike for all of them."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web
from yarl import URL

from attestation.errors import CodedError
from kms import observe
from kms.admission import Admissions, Call
from kms.body import BODY_BYTES_MAX
from kms.conditions import etag, is_held
from kms.endpoint import Answer, Context, Endpoint
from kms.errors import NotFoundError, RequestError
from kms.gateway import Gateway
from kms.observe import describe, logger
from kms.openapi import endpoint_for
from kms.problems import CONTENT_TYPE, encode, problem_of
from kms.routes import ENDPOINTS, PERFORMERS
from kms.routes.ceremonies import take_up_orders
from kms.tracing import Trace, continued

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{8,64}")
"""Request ids taken over from a client; others are replaced."""

_PREFIX = f"req-{os.urandom(6).hex()}-"
_NUMBERS = itertools.count(1)

CALL = web.RequestKey("call", Call)
"""Who sends a request, once that is known; for the log line."""

ADMISSIONS = web.AppKey("admissions", Admissions)
"""Which knows how many requests each principal may send, for the headers that say so."""

QUERY_MAX = 16
"""Most query parameters; endpoints know at most three."""


def build(gateway: Gateway) -> web.Application:
    """The application that serves `gateway`."""
    take_up_orders(gateway)
    for verb, perform in PERFORMERS.items():
        gateway.approvals.serves(verb, perform)
    endpoints: Sequence[Endpoint] = (*ENDPOINTS, endpoint_for(ENDPOINTS))
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_answers])
    app[ADMISSIONS] = gateway.admissions

    async def end_streams(_app: web.Application) -> None:
        gateway.events.close()

    app.on_shutdown.append(end_streams)
    for endpoint in endpoints:
        app.router.add_route(endpoint.method, endpoint.path, _handler(gateway, endpoint))
    return app


def _handler(gateway: Gateway, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    names = frozenset(parameter.name for parameter in endpoint.parameters)

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await _read(request, endpoint)
        query = _query(request.rel_url, names)
        idempotency_key = request.headers.get("Idempotency-Key")
        call = None
        if endpoint.act is not None:
            call = gateway.admissions.authenticate(
                authorization=request.headers.get("Authorization"),
                proof=request.headers.get("DPoP"),
                idempotency_key=idempotency_key,
                method=request.method,
                path=request.rel_url.raw_path,
                body=body,
                act=endpoint.act,
            )
            request[CALL] = call
        answer = await endpoint.handler(
            Context(
                gateway=gateway,
                method=request.method,
                path=request.path,
                params=request.match_info,
                query=query,
                body=body,
                idempotency_key=idempotency_key,
                call=call,
                prefer=request.headers.get("Prefer"),
                if_match=request.headers.get("If-Match"),
                request=request,
            )
        )
        return _response(answer, request)

    return handle


@web.middleware
async def _answers(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every answer leaves here: with a request id, and as a problem if it is none."""
    started = time.perf_counter()
    given = request.headers.get("X-Request-Id", "")
    request_id = given if REQUEST_ID.fullmatch(given) else f"{_PREFIX}{next(_NUMBERS):08x}"
    error: BaseException | None = None
    trace = continued(request.headers.get("traceparent"))
    try:
        response = await handler(request)
    except web.HTTPRequestEntityTooLarge:
        error = RequestError(f"expected a body of at most {BODY_BYTES_MAX} bytes", code="request.too-large")
    except web.HTTPMethodNotAllowed as refusal:
        allowed = ", ".join(sorted(refusal.allowed_methods))
        error = RequestError(f"expected {allowed}", code="method.not-allowed")
    except web.HTTPException:
        error = NotFoundError("no such path", hint="GET /openapi.json lists all of them")
    except CodedError as refusal:
        error = refusal
    except Exception as failure:
        error = failure
        logger().error("request-failed", request_id=request_id, exc_info=failure)
    if error is not None:
        problem, headers = problem_of(error, request_id=request_id)
        response = web.Response(body=encode(problem), status=problem.status, headers=headers, content_type=CONTENT_TYPE)
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
        response.headers["Server"] = "holdfast"
        if trace is not None:
            response.headers["traceresponse"] = trace.header
        if CALL in request:
            limiter = request.app[ADMISSIONS].limiter
            response.headers["RateLimit-Policy"] = limiter.policy
            response.headers["RateLimit"] = limiter.left(request[CALL].principal, time.monotonic())
    _log(request, response, request_id, error, started, trace)
    return response


def _log(
    request: web.Request,
    response: web.StreamResponse,
    request_id: str,
    error: BaseException | None,
    started: float,
    trace: Trace | None,
) -> None:
    """One line per refused request; successes only when debugging, so that the hot path writes nothing."""
    if error is None and not observe.is_debugging():
        return
    resource = request.match_info.route.resource
    facts: dict[str, Any] = {
        "request_id": request_id,
        "method": request.method,
        "route": resource.canonical if resource is not None else "",
        "status": response.status,
        "duration_ms": round(1000 * (time.perf_counter() - started), 2),
    }
    if trace is not None:
        facts |= {"trace_id": trace.trace_id, "span_id": trace.span_id}
    if error is None:
        logger().debug("request", **facts)
        return
    if CALL in request:
        call = request[CALL]
        facts |= {"principal": call.principal, "token_id": call.token.request_id.hex()}
    logger().info("refused", **facts, **describe(error))


def _response(answer: Answer, request: web.Request) -> web.StreamResponse:
    if answer.stream is not None:
        return answer.stream
    headers = dict(answer.headers)
    if request.method == "GET" and answer.status == 200 and "Cache-Control" not in headers:
        tag = headers.setdefault("ETag", etag(answer.body))
        headers["Cache-Control"] = "no-cache"  # to be asked about again each time; what others may see is not cached
        if is_held(tag, request.headers.get("If-None-Match")):
            return web.Response(status=304, headers=headers)
    return web.Response(body=answer.body, status=answer.status, headers=headers, content_type=answer.content_type)


async def _read(request: web.Request, endpoint: Endpoint) -> bytes:
    """The exact body bytes; tokens are made over them, so nothing may have decoded them on the way."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise RequestError("expected a body without content encoding", code="request.encoding")
    body = await request.read()
    if body and endpoint.request is None:
        raise RequestError("expected no body", code="request.body")
    return body


def _query(url: URL, names: frozenset[str]) -> dict[str, str]:
    """Query parameters; unknown and repeated ones are refused, because they would be ignored or guessed."""
    if not url.raw_query_string:
        return {}
    query: dict[str, str] = {}
    for name, value in url.query.items():
        if name not in names or len(query) >= QUERY_MAX:
            raise RequestError("unknown query parameter", code="request.query", hint="see GET /openapi.json")
        if name in query:
            raise RequestError(f"query parameter {name} is repeated", code="request.query")
        query[name] = value
    return query
