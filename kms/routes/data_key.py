"""POST /v1/keys/{key}/data-key: a fresh data key, in clear and sealed.  An edge operation.

The gateway makes the key and sees it, so policy must say `plaintext_to_gateway` for kind `data_key`.  A client that can
run stock HPKE makes its data keys itself (`client.decryption.data_key`) and needs nobody.
"""

from __future__ import annotations

import os

import msgspec

from attestation.envelope import b64url
from enclave.errors import CallerError, RefusedError
from enclave.payload.decrypt import context_info
from enclave.policy import Request as Question
from enclave.policy import evaluate
from enclave.threshold.hpke import seal
from enclave.tokens import Act
from kms.admission import Outcome
from kms.body import Reply, Request, read_body
from kms.endpoint import Answer, Context, Endpoint, executed, outcome
from kms.routes.shapes import usable_key

DATA_KEY_BYTES = 32
"""A key for AES-256 or ChaCha20."""


class DataKeyRequest(Request, frozen=True):
    """`context` must be given again to open the sealed form."""

    context: dict[str, str] = msgspec.field(default_factory=dict)


class DataKey(Reply, frozen=True):
    """32 fresh bytes and the same sealed to the key (enc || ct), base64url; never stored."""

    key: str
    plaintext: str
    ciphertext: str


async def data_key(context: Context) -> Answer:
    """Make one here, if the key's policy lets this gateway see it."""
    key = await usable_key(context)
    if key.certificate.spec != "hpke-x25519":
        raise CallerError(f"a {key.certificate.spec} key does not encrypt", code="key.spec")
    request = read_body(context.body, DataKeyRequest)
    gateway, certificate = context.gateway, key.certificate
    held = gateway.directory.policy(certificate.policy)
    question = Question(
        agent=context.caller.principal, key=key.key, kind="data_key", payload=None, now=gateway.fleet.clock()
    )
    decision = evaluate(held[0], question) if held is not None else None
    if decision is None or not decision.allowed:
        raise RefusedError(decision.reason if decision else "the key's policy is not here", code="policy.denied")
    if gateway.directory.key_state(key.key) != "enabled":
        raise RefusedError("key is disabled", code="key.disabled")

    async def work() -> Outcome:
        plaintext = os.urandom(DATA_KEY_BYTES)
        sealed = seal(certificate.public_key, plaintext, context_info(request.context))
        value = DataKey(key=key.key, plaintext=b64url(plaintext), ciphertext=b64url(sealed))
        return outcome(value, facts={}, is_secret=True)

    return await executed(context, work)


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/keys/{key}/data-key", summary="A fresh data key, seen by the gateway",
        handler=data_key, act=Act.ENCRYPT, request=DataKeyRequest, reply=DataKey, tag="use", informative=True,
    ),
)  # fmt: skip
