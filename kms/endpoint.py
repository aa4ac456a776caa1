"""What an endpoint is: method, path, types and handler in one value, from which routing and OpenAPI both come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from enclave.tokens import Act
from kms.admission import Call, Outcome
from kms.body import Reply
from kms.operations import OPEN, PATH, State, wait_of
from kms.problems import CONTENT_TYPE, encode

if TYPE_CHECKING:
    from kms.gateway import Gateway


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One request in the hands of a handler."""

    gateway: Gateway
    method: str
    path: str
    params: Mapping[str, str]
    """Path parameters."""
    query: Mapping[str, str]
    body: bytes
    idempotency_key: str | None
    call: Call | None
    """Who sends it; None where no token is needed."""
    prefer: str | None = None
    """The header Prefer (RFC 7240)."""
    if_match: str | None = None
    """The header If-Match."""
    request: web.Request | None = None
    """What a response that is sent piece by piece belongs to."""

    @property
    def caller(self) -> Call:
        """Who sends it, at endpoints that need a token."""
        assert self.call is not None
        return self.call


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    stream: web.StreamResponse | None = None
    """A response that was sent piece by piece already, instead of all the above."""


Handler = Callable[[Context], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter."""

    name: str
    schema: Mapping[str, Any]
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method on one path."""

    method: str
    path: str
    summary: str
    handler: Handler
    act: Act | None
    """What a token must authorise; None for public endpoints."""
    request: Any = None
    """Type of the body."""
    reply: Any = None
    """Type of the answer; None for raw JSON of another specification."""
    status: int = 200
    parameters: tuple[Parameter, ...] = ()
    tag: str = "keys"
    may_wait: bool = False
    """Whether policy may send it to people: then the answer is 202 with an operation."""
    media: str = "application/json"
    """Content type of the answer."""
    informative: bool = False
    """Whether the answer is this gateway's word only, proven by nobody."""

    @property
    def operation(self) -> str:
        """A name for generated clients: `post_v1_keys_key_sign`."""
        words = self.path.strip("/").replace("{", "").replace("}", "").replace("-", "_").replace(".", "_")
        return f"{self.method.lower()}_{words.replace('/', '_') or 'root'}"


def reply(value: Reply, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A typed answer."""
    return Answer(body=encode(value), status=status, headers=headers or {})


def outcome(value: Reply, *, facts: dict[str, object], status: int = 200, is_secret: bool = False) -> Outcome:
    """A typed outcome for `Admissions.execute`; `facts` go into the audit log."""
    return Outcome(status=status, body=encode(value), facts=facts, is_secret=is_secret)


async def executed(context: Context, work: Callable[[], Awaitable[Outcome]]) -> Answer:
    """Run `work` under admission and answer with its outcome or the stored one."""
    result, replayed = await context.gateway.admissions.execute(context.caller, work)
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    if result.status == 202:
        return await _accepted(context, result, headers)
    if result.is_secret:
        headers["Cache-Control"] = "no-store"
    return Answer(body=result.body, status=result.status, headers=headers)


class _Begun(msgspec.Struct):
    """Which operation a 202 is about, if any."""

    operation: str | None = None


async def _accepted(context: Context, result: Outcome, headers: dict[str, str]) -> Answer:
    """202 with the operation's place, or with `Prefer: wait=N` what it came to within that time."""
    operation = msgspec.json.decode(result.body, type=_Begun).operation
    if operation is None:  # a document that has not reached every node is accepted, too
        return Answer(body=result.body, status=202, headers=headers)
    headers["Location"] = PATH + operation
    wait_s = wait_of(context.prefer)
    if wait_s:
        headers["Preference-Applied"] = f"wait={wait_s}"
        ended = await context.gateway.operations.wait(operation, wait_s)
        if ended.state not in OPEN and ended.result is not None and ended.status is not None:
            is_problem = ended.state != State.SUCCEEDED
            kind = CONTENT_TYPE if is_problem else "application/json"
            return Answer(body=ended.result, status=ended.status, headers=headers, content_type=kind)
    return Answer(body=result.body, status=202, headers=headers)
