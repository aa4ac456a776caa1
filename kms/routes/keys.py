"""POST and GET /v1/keys: make keys and list them."""

from __future__ import annotations

import asyncio

from enclave.errors import CallerError
from enclave.key_order import KeyOrder
from enclave.key_specs import Custody
from enclave.roster import Role
from enclave.tokens import Act
from kms.admission import Outcome
from kms.body import read_body
from kms.endpoint import Answer, Context, Endpoint, Parameter, executed, outcome, reply
from kms.errors import RequestError
from kms.fleet.ceremony import create_key
from kms.fleet.p256 import with_public_key
from kms.keys import Key
from kms.routes.key import certified_now
from kms.routes.shapes import KeyList, KeyOrderJson, KeyRecordJson, record_of

LIMIT_DEFAULT, LIMIT_MAX = 50, 200
"""Keys per page: 200 records with certificates are about 1 MB."""

SCANNED_MAX = 2000
"""Keys looked at for one page, so that an agent with few keys does not make the gateway read all of them at once."""


async def create(context: Context) -> Answer:
    """Have the nodes generate a key: every node checks the order's token and role itself."""
    gateway, call = context.gateway, context.caller
    gateway.admissions.require_role(call, Role.ADMIN)
    gateway.admissions.require_resource(call, "*")
    read_body(context.body, KeyOrderJson)
    order = KeyOrder.parse(context.body, gateway.roster)
    if gateway.directory.policy(order.policy) is None:
        raise CallerError("no such policy", code="order.policy", hint="put it first: without it no use is allowed")

    async def work() -> Outcome:
        key = await create_key(
            gateway.fleet,
            gateway.store,
            order,
            token=call.token_text,
            body=call.body,
            request_id=call.token.request_id,
            reference=call.reference,
        )
        if not key.is_complete:
            key = await with_public_key(gateway.fleet, gateway.relay, key, token=call.token_text, body=call.body)
            await gateway.store.put_key(key.stored())
        gateway.keyring.put(key)
        return outcome(record_of(key, gateway.directory), status=201, facts={"key": key.key})

    return await executed(context, work)


async def listing(context: Context) -> Answer:
    """A page of the keys the principal may see."""
    gateway, call = context.gateway, context.caller
    gateway.admissions.require_resource(call, "*")
    limit = _limit(context.query.get("limit"))
    after = context.query.get("cursor", "")
    if len(after) > 64 or not after.isascii():
        raise RequestError("expected the next_cursor of a page", code="request.cursor")
    seen: list[Key] = []
    scanned = 0
    more = True
    while more and len(seen) < limit and scanned < SCANNED_MAX:
        page = await gateway.keyring.page(after=after, limit=limit)
        more = len(page) == limit
        for key in page:
            scanned += 1
            after = key.key
            if key.certificate.custody is Custody.RELEASE or not key.is_complete:
                continue  # secrets are listed by GET /v1/secrets
            if gateway.directory.may_see(call.principal, key=key.key, policy=key.certificate.policy):
                seen.append(key)
                if len(seen) == limit:
                    break
    certified = await asyncio.gather(*(certified_now(gateway, key) for key in seen))
    return reply(
        KeyList(keys=[record_of(key, gateway.directory) for key in certified], next_cursor=after if more else None)
    )


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= LIMIT_MAX:
        raise RequestError(f"expected a limit of 1 to {LIMIT_MAX}", code="request.limit")
    return int(text)


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/keys", summary="Create a key", handler=create, act=Act.KEYS_CREATE,
        request=KeyOrderJson, reply=KeyRecordJson, status=201,
    ),
    Endpoint(
        method="GET", path="/v1/keys", summary="List keys", handler=listing, act=Act.KEYS_LIST, reply=KeyList,
        parameters=(
            Parameter(name="cursor", schema={"type": "string", "maxLength": 64}, description="next_cursor of a page"),
            Parameter(
                name="limit", schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
                description="keys per page",
            ),
        ),
    ),
)  # fmt: skip
