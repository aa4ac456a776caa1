"""POST /v1/keys/{key}/rewrap: seal a plaintext to another key, without anybody outside one enclave seeing it."""

from __future__ import annotations

import msgspec

from attestation.envelope import b64url
from enclave.tokens import Act
from kms.admission import Outcome
from kms.approvals.desk import executed_or_parked
from kms.body import Reply, Request
from kms.endpoint import Answer, Context, Endpoint, outcome
from kms.keys import Key
from kms.routes.opened import opened_by_node, parse_opening
from kms.routes.shapes import usable_key


class RewrapRequest(Request, frozen=True):
    """`ciphertext` (base64url) of the key in the path is opened at `opened_in_enclave` and sealed to the key `to`."""

    ciphertext: str
    opened_in_enclave: str
    to: str
    context: dict[str, str] = msgspec.field(default_factory=dict)
    to_context: dict[str, str] = msgspec.field(default_factory=dict)
    without: list[str] | msgspec.UnsetType = msgspec.UNSET


class Rewrapped(Reply, frozen=True):
    """`ciphertext` is enc || ct for the key `to`; `signature` is the opening node's (base64url)."""

    key: str
    request_id: str
    signers: list[str]
    to: str
    to_version: int
    ciphertext: str
    opened_by: str
    boot_counter: int
    signature: str


async def rewrap(context: Context) -> Answer:
    """Admit, and have the named node open and seal again."""
    return await executed_or_parked(context, await checked(context), perform)


async def checked(context: Context) -> Key:
    """The key, if what is asked of it can be done at all; raises what the nodes would."""
    key = await usable_key(context)
    parse_opening(context.body, key, kind="rewrap")
    return key


async def perform(context: Context, key: Key) -> Outcome:
    """Have the named node open and seal again what an admitted request is about."""
    request = parse_opening(context.body, key, kind="rewrap")
    made, slots = await opened_by_node(context, key, request)
    assert request.target is not None
    assert request.opener is not None
    return outcome(
        Rewrapped(
            key=key.key,
            request_id=context.caller.token.request_id.hex(),
            signers=slots,
            to=request.target.key,
            to_version=made.target_version,
            ciphertext=b64url(made.sealed),
            opened_by=request.opener,
            boot_counter=made.boot_counter,
            signature=b64url(made.signature),
        ),
        facts={"signers": slots, "opened_by": request.opener, "to": request.target.key},
    )


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/keys/{key}/rewrap", summary="Seal data to another key inside an enclave",
        handler=rewrap, act=Act.DECRYPT, request=RewrapRequest, reply=Rewrapped, tag="use", may_wait=True,
    ),
)  # fmt: skip
