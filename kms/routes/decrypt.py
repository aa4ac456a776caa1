"""POST /v1/keys/{key}/decrypt: partial results for a recipient, or the plaintext where policy lets the gateway see it.

Every ciphertext that does not open gives the one code `decrypt.failed`, whatever is wrong with it.
"""

from __future__ import annotations

import msgspec

from attestation.envelope import b64url
from enclave.payload.decrypt import DecryptBody
from enclave.tokens import Act
from kms.admission import Outcome
from kms.approvals.desk import executed_or_parked
from kms.body import Reply, Request
from kms.endpoint import Answer, Context, Endpoint, outcome
from kms.fleet.decrypt import open_here, sealed_partials
from kms.keys import Key
from kms.renewal import on_newest_shares
from kms.routes.opened import opened_by_node, parse_opening
from kms.routes.shapes import usable_key


class DecryptRequest(Request, frozen=True):
    """`ciphertext` is enc || ct and `recipient` an X25519 public key, both base64url."""

    ciphertext: str
    context: dict[str, str] = msgspec.field(default_factory=dict)
    recipient: str | None = None
    opened_in_enclave: str | msgspec.UnsetType = msgspec.UNSET
    """Slot of the node that opens it inside its enclave; needs a recipient."""
    proofs: bool = False
    """Whether each partial result must come with a proof."""
    without: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Slots that must not take part."""


class PartialJson(Reply, frozen=True, omit_defaults=True):
    """One node's partial point, and its proof if asked for, sealed (HPKE, base64url) to the recipient."""

    slot: str
    index: int
    sealed: str
    boot_counter: int | None = None
    signature: str | None = None
    """The node's, if proofs were asked for."""


class Decrypted(Reply, frozen=True, omit_defaults=True):
    """`partials` and `enc` for a recipient, `sealed` from an enclave, else `plaintext` (base64url, never stored)."""

    key: str
    request_id: str
    signers: list[str]
    enc: str | None = None
    partials: list[PartialJson] | None = None
    plaintext: str | None = None
    sealed: str | None = None
    """The plaintext, sealed to the recipient by the node `opened_by`, which signed it."""
    opened_by: str | None = None
    boot_counter: int | None = None
    signature: str | None = None


async def decrypt(context: Context) -> Answer:
    """Admit, collect partials, and hand them on or open them here."""
    return await executed_or_parked(context, await checked(context), perform)


async def checked(context: Context) -> Key:
    """The key, if what is asked of it can be done at all; raises what the nodes would."""
    key = await usable_key(context)
    parse_opening(context.body, key, kind="decrypt")
    return key


@on_newest_shares
async def perform(context: Context, key: Key) -> Outcome:
    """Have the nodes open an admitted request's ciphertext."""
    request = parse_opening(context.body, key, kind="decrypt")
    if request.opener is not None:
        return await _opened(context, key, request)
    return await (_open(context, key, request) if request.recipient is None else _hand_on(context, key, request))


async def _hand_on(context: Context, key: Key, request: DecryptBody) -> Outcome:
    call = context.caller
    partials = await sealed_partials(
        context.gateway.fleet,
        key,
        token=call.token_text,
        body=call.body,
        without=request.without,
        item=call.item,
    )
    slots = [partial.slot for partial in partials]
    return outcome(
        Decrypted(
            key=key.key,
            request_id=call.token.request_id.hex(),
            signers=slots,
            enc=b64url(request.enc),
            partials=[
                PartialJson(
                    slot=partial.slot,
                    index=partial.index,
                    sealed=b64url(partial.sealed),
                    boot_counter=partial.boot_counter if request.proofs else None,
                    signature=b64url(partial.signature) if request.proofs else None,
                )
                for partial in partials
            ],
        ),
        facts={"signers": slots},
    )


async def _open(context: Context, key: Key, request: DecryptBody) -> Outcome:
    call = context.caller
    plaintext, slots = await open_here(
        context.gateway.fleet,
        key,
        token=call.token_text,
        body=call.body,
        request=request,
        item=call.item,
    )
    return outcome(
        Decrypted(key=key.key, request_id=call.token.request_id.hex(), signers=slots, plaintext=b64url(plaintext)),
        is_secret=True,
        facts={"signers": slots},
    )


async def _opened(context: Context, key: Key, request: DecryptBody) -> Outcome:
    made, slots = await opened_by_node(context, key, request)
    return outcome(
        Decrypted(
            key=key.key,
            request_id=context.caller.token.request_id.hex(),
            signers=slots,
            sealed=b64url(made.sealed),
            opened_by=request.opener,
            boot_counter=made.boot_counter,
            signature=b64url(made.signature),
        ),
        facts={"signers": slots, "opened_by": request.opener},
    )


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/keys/{key}/decrypt", summary="Open sealed data", handler=decrypt, act=Act.DECRYPT,
        request=DecryptRequest, reply=Decrypted, tag="use", may_wait=True,
    ),
)  # fmt: skip
