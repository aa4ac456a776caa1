"""Take in an existing key that a client split, and let an exportable one out.  No private key comes in or out whole."""

from __future__ import annotations

import msgspec

from attestation.envelope import b64url
from enclave.errors import CallerError
from enclave.imports.upload import KeyUpload
from enclave.payload.export import ExportBody
from enclave.roster import Role
from enclave.tokens import Act
from kms.admission import Outcome
from kms.body import Reply, Request
from kms.endpoint import Answer, Context, Endpoint, executed, outcome
from kms.fleet.imports import export, take_in
from kms.keys import Key, KeyRecord
from kms.routes.shapes import KeyOrderJson, KeyRecordJson, record_of, visible_key


class SealedKeyShareJson(Request, frozen=True):
    """A share sealed (base64url) to the KEM key of one boot of one node."""

    slot: str
    boot_counter: int
    sealed: str


class KeyUploadJson(Request, frozen=True):
    """A key split by its importer; commitments, public key and chain code are hex, the rest base64url."""

    key: str
    order: KeyOrderJson
    """As for a new key, with `nodes` written out."""
    commitments: list[str]
    public_key: str
    chain_code: str
    created_at: int
    proof: str
    shares: list[SealedKeyShareJson]
    wrapped: str | msgspec.UnsetType = msgspec.UNSET
    """A P-256 key under the shared scalar."""


class KeyImported(Reply, frozen=True):
    """The record, and the holders that have not been told yet that everybody accepted."""

    record: KeyRecordJson
    missing: list[str]


class ExportRequestJson(Request, frozen=True):
    """The X25519 key (base64url) that every node seals its share to."""

    recipient: str


class ExportedShareJson(Reply, frozen=True):
    """One node's share, sealed (HPKE, base64url) to the recipient."""

    slot: str
    index: int
    sealed: str


class KeyExported(Reply, frozen=True):
    """What the recipient combines; `wrapped` (base64url) only for an imported P-256 key."""

    key: str
    version: int
    epoch: int
    request_id: str
    shares: list[ExportedShareJson]
    wrapped: str


async def import_key(context: Context) -> Answer:
    """Check form and policy, have every holder check and keep its share, then have all of them begin."""
    gateway, call = context.gateway, context.caller
    gateway.admissions.require_role(call, Role.ADMIN)
    # Before admission: of a body that may hold a private key not even a digest is kept.
    upload = KeyUpload.parse(context.body, gateway.roster)
    gateway.admissions.require_resource(call, upload.key)
    certificate = upload.certificate(gateway.roster.cluster_id)
    if gateway.directory.policy(upload.order.policy) is None:
        raise CallerError("no such policy", code="order.policy", hint="put it first: without it no use is allowed")

    async def work() -> Outcome:
        signatures, missing = await take_in(gateway.fleet, certificate, token=call.token_text, body=call.body)
        record = KeyRecord(body=certificate.body(), signatures=signatures, labels=dict(upload.order.labels))
        key = Key.of(record, gateway.fleet.clock())
        await gateway.store.put_key(key.stored())
        gateway.keyring.put(key)
        imported = KeyImported(record=record_of(key, gateway.directory), missing=missing)
        return outcome(imported, status=201, facts={"key": key.key, "missing": missing})

    return await executed(context, work)


async def export_key(context: Context) -> Answer:
    """Collect sealed shares of the nodes that let this key go to this principal."""
    gateway, call = context.gateway, context.caller
    key = await visible_key(context)
    gateway.admissions.require_resource(call, key.resource)
    ExportBody.parse(context.body)

    async def work() -> Outcome:
        made = await export(gateway.fleet, key, token=call.token_text, body=call.body)
        exported = KeyExported(
            key=key.key,
            version=key.certificate.version,
            epoch=key.certificate.epoch,
            request_id=call.token.request_id.hex(),
            shares=[
                ExportedShareJson(slot=slot, index=key.index[slot], sealed=b64url(sealed))
                for slot, sealed in made.shares.items()
            ],
            wrapped=b64url(made.wrapped),
        )
        # Secret: what leads to a whole key, sealed or not, is not kept for retries.
        return outcome(exported, facts={"key": key.key, "signers": sorted(made.shares)}, is_secret=True)

    return await executed(context, work)


ENDPOINTS = (
    Endpoint(
        method="POST", path="/v1/keys/import", summary="Take in an existing key split by the client",
        handler=import_key, act=Act.KEYS_IMPORT, request=KeyUploadJson, reply=KeyImported, status=201,
    ),
    Endpoint(
        method="POST", path="/v1/keys/{key}/export", summary="Let an exportable key out, sealed to who asked",
        handler=export_key, act=Act.KEYS_EXPORT, request=ExportRequestJson, reply=KeyExported,
    ),
)  # fmt: skip
