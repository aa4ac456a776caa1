"""What decrypt and rewrap share: the opening inside a named enclave, and refusals that look alike."""

from __future__ import annotations

from enclave.errors import CallerError
from enclave.payload.decrypt import DecryptBody, parse_decrypt_body
from enclave.wire.decrypt import OpenReply
from kms.endpoint import Context
from kms.errors import RequestError
from kms.fleet.opening import open_inside
from kms.keys import Key


def parse_opening(body: bytes, key: Key, *, kind: str) -> DecryptBody:
    """The body of a request of this kind; raises CallerError, RequestError.

    What is wrong with a ciphertext is not told apart from what makes it not open.
    """
    if key.certificate.spec != "hpke-x25519":
        raise CallerError(f"a {key.certificate.spec} key does not decrypt", code="key.spec")
    try:
        request = parse_decrypt_body(body)
    except CallerError as error:
        if error.code == "payload.ciphertext":
            raise CallerError("ciphertext does not open", code="decrypt.failed") from None
        raise
    if request.kind != kind:
        raise RequestError(f"this is the body of a {request.kind} request")
    if request.opener is not None and key.certificate.node(request.opener) is None:
        raise CallerError("the node that opens holds no share of this key", code="payload.opener")
    return request


async def opened_by_node(context: Context, key: Key, request: DecryptBody) -> tuple[OpenReply, list[str]]:
    """The opening at the node the request names; raises NodeRefusal, UnavailableError."""
    assert request.opener is not None
    gateway, call = context.gateway, context.caller
    return await open_inside(
        gateway.fleet,
        gateway.relay,
        key,
        token=call.token_text,
        body=call.body,
        opener=request.opener,
        without=request.without,
        item=call.item,
    )
