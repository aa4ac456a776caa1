"""GET /v1/keys/{key}: one key with a certificate signed by the nodes' present boots."""

from __future__ import annotations

import asyncio

from enclave.tokens import Act
from enclave.wire.documents import CertificateRequest, CertificateSignature
from kms.conditions import etag
from kms.endpoint import Answer, Context, Endpoint, reply
from kms.errors import KmsError
from kms.gateway import Gateway
from kms.keys import Key
from kms.routes.shapes import KeyRecordJson, record_of, visible_key


async def show(context: Context) -> Answer:
    """The record; signatures of nodes that rebooted since are asked for anew."""
    gateway = context.gateway
    key = await visible_key(context)
    gateway.admissions.require_resource(context.caller, key.key, key.resource)
    key = await certified_now(gateway, key)
    answer = reply(record_of(key, gateway.directory))
    return Answer(body=answer.body, headers={"ETag": etag(answer.body)})


async def certified_now(gateway: Gateway, key: Key) -> Key:
    """The key with a signature of the present boot of every holder that answers."""
    boots = {item.slot: item.boot_counter for item in key.record.signatures}
    links = [
        link
        for slot in key.certificate.slots
        if (link := gateway.fleet.links.get(slot)) is not None
        and link.status is not None
        and link.status.boot_counter != boots.get(slot)
    ]
    if not links:
        return key
    answers = await asyncio.gather(
        *(link.call("certificate", CertificateRequest(key=key.key)) for link in links), return_exceptions=True
    )
    fresh = [
        answer for answer in answers if isinstance(answer, CertificateSignature) and answer.body == key.record.body
    ]
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, KmsError):
            raise answer
    if not fresh:
        return key
    key = key.with_signatures(fresh)
    await gateway.store.put_key(key.stored())
    return gateway.keyring.put(key)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/keys/{key}", summary="One key with its certificate", handler=show, act=Act.KEYS_GET,
        reply=KeyRecordJson,
    ),
)  # fmt: skip
