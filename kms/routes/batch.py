"""POST /v1/batch: many uses of keys under one token, each answered for itself.

Rules kept: nodes read the whole body and take each item from it themselves; an item that fails is a problem in its
place and stops no other; the order of answers is that of the items, the order of execution is nobody's promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec

from attestation.errors import CodedError
from enclave.batches import ITEMS_MAX, Item, item_token, items_of
from enclave.errors import RefusedError
from enclave.tokens import Act
from kms.admission import Outcome
from kms.approvals.desk import REQUIRED
from kms.body import Reply, Request
from kms.endpoint import Answer, Context, Endpoint, executed, outcome
from kms.keys import Key
from kms.observe import logger
from kms.problems import Problem, problem_of
from kms.routes import decrypt, rewrap, sign

AT_ONCE = 8
"""Items of one batch in work at a time: enough to fill frames to nodes, few enough to leave room for others."""


@dataclass(frozen=True, slots=True)
class Use:
    """An endpoint's two halves."""

    check: Callable[[Context], Awaitable[Key]]
    perform: Callable[[Context, Key], Awaitable[Outcome]]


USES = {
    "sign": Use(sign.checked, sign.perform),
    "decrypt": Use(decrypt.checked, decrypt.perform),
    "rewrap": Use(rewrap.checked, rewrap.perform),
}
"""Every verb of enclave.batches.VERBS."""

RESULTS = [{"$ref": f"#/components/schemas/{name}"} for name in ("Signed", "Decrypted", "Rewrapped")]


class BatchItem(Request, frozen=True):
    """`body` is what a request to `/v1/keys/{key}/{verb}` would carry; `key` names the version, `key_.../1`."""

    ref: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._:-]{1,64}$")]
    """Yours, once per batch; the answer repeats it."""
    verb: Annotated[str, msgspec.Meta(extra_json_schema={"enum": sorted(USES)})]
    key: str
    body: dict[str, Any]


class BatchRequest(Request, frozen=True):
    """All items are under the one token: act `batch`, resource `*`."""

    items: Annotated[list[BatchItem], msgspec.Meta(min_length=1, max_length=ITEMS_MAX)]


class ItemResult(Reply, frozen=True, omit_defaults=True):
    """What became of an item: `result`, as its own endpoint would have answered, or `problem`."""

    ref: str
    request_id: str
    """Hex SHA-256 of the token and the item's number as four bytes; receipts go by it."""
    status: int
    result: Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"anyOf": RESULTS})] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    problem: Problem | None = None


class BatchResults(Reply, frozen=True):
    """In the order of the items."""

    request_id: str
    results: list[ItemResult]


async def batch(context: Context) -> Answer:
    """Read the items, count them as requests, admit them as one, have nodes do each."""
    gateway, call = context.gateway, context.caller
    gateway.admissions.require_resource(call, "*")
    items = items_of(context.body)
    gateway.admissions.count(call, len(items) - 1)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, item: Item) -> tuple[ItemResult, Outcome | None]:
        async with room:
            return await _result(context, number, item)

    async def work() -> Outcome:
        done = await asyncio.gather(*(one(number, item) for number, item in enumerate(items)))
        results = [result for result, _ in done]
        return outcome(
            BatchResults(request_id=call.token.request_id.hex(), results=results),
            facts={"items": [_fact(item, *entry) for item, entry in zip(items, done, strict=True)]},
            is_secret=any(made is not None and made.is_secret for _, made in done),
        )

    return await executed(context, work)


async def _result(context: Context, number: int, item: Item) -> tuple[ItemResult, Outcome | None]:
    token = item_token(context.caller.token, item, number)
    key, use = item.resource.partition("/")[0], USES[item.verb]
    own = replace(
        context,
        params={"key": key},
        body=item.body,
        call=replace(context.caller, token=token, item=number),
        path=f"/v1/keys/{key}/{item.verb}",
    )
    request_id = token.request_id.hex()
    try:
        made = await use.perform(own, await use.check(own))
    except Exception as error:
        problem, _ = problem_of(_alone(error), request_id=request_id)
        if not isinstance(error, CodedError):
            logger().error("request-failed", request_id=request_id, exc_info=error)
        return ItemResult(ref=item.ref, request_id=request_id, status=problem.status, problem=problem), None
    result = ItemResult(ref=item.ref, request_id=request_id, status=made.status, result=msgspec.Raw(made.body))
    return result, made


def _alone(error: Exception) -> Exception:
    """People approve requests, not parts of batches."""
    if isinstance(error, CodedError) and error.code == REQUIRED:
        return RefusedError(
            "policy allows this with approvals, and an item of a batch has none",
            code=REQUIRED,
            hint="send it as a request of its own, which then waits for approvers",
        )
    return error


def _fact(item: Item, result: ItemResult, made: Outcome | None) -> dict[str, object]:
    """What the audit log says of an item."""
    facts: dict[str, object] = {"request": result.request_id, "act": item.verb, "resource": item.resource}
    if result.problem is not None:
        return facts | {"code": result.problem.code}
    return facts | (made.facts if made is not None else {})


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/batch", summary="Use keys many times under one token", handler=batch, act=Act.BATCH,
        request=BatchRequest, reply=BatchResults, tag="use",
    ),
)  # fmt: skip
