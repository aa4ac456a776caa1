"""POST /v1/keys/{key}/encrypt: seal to a key.  Anyone can do the same offline with stock HPKE, and should."""

from __future__ import annotations

import msgspec

from attestation.envelope import b64url, b64url_decode
from attestation.errors import DocumentError
from enclave.errors import CallerError
from enclave.payload.decrypt import context_info
from enclave.threshold.hpke import seal
from enclave.tokens import Act
from kms.body import Reply, Request, read_body
from kms.endpoint import Answer, Context, Endpoint, reply
from kms.errors import RequestError
from kms.routes.shapes import visible_key

PLAINTEXT_BYTES_MAX = 512 << 10
"""Largest plaintext in bytes: its ciphertext still fits a decrypt request."""


class EncryptRequest(Request, frozen=True):
    """`plaintext` is base64url; `context` must be given again to decrypt."""

    plaintext: str
    context: dict[str, str] = msgspec.field(default_factory=dict)


class Encrypted(Reply, frozen=True):
    """enc || ciphertext, base64url."""

    key: str
    ciphertext: str


async def encrypt(context: Context) -> Answer:
    """Seal here; the gateway sees the plaintext and keeps nothing of it."""
    key = await visible_key(context)
    context.gateway.admissions.require_resource(context.caller, key.key, key.resource)
    if key.certificate.spec != "hpke-x25519":
        raise CallerError(f"a {key.certificate.spec} key does not encrypt", code="key.spec")
    request = read_body(context.body, EncryptRequest)
    try:
        plaintext = b64url_decode(request.plaintext)
    except DocumentError as error:
        raise RequestError(f"plaintext: {error.detail}") from None
    if len(plaintext) > PLAINTEXT_BYTES_MAX:
        raise CallerError(f"expected at most {PLAINTEXT_BYTES_MAX} bytes", code="plaintext.too-large")
    sealed = seal(key.certificate.public_key, plaintext, context_info(request.context))
    return reply(Encrypted(key=key.key, ciphertext=b64url(sealed)))


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/keys/{key}/encrypt", summary="Seal data to a key", handler=encrypt, act=Act.ENCRYPT,
        request=EncryptRequest, reply=Encrypted, tag="use",
    ),
)  # fmt: skip
