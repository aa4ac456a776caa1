"""Opaque secrets: put a sealed upload, look, and release to an attested workload.  No plaintext comes in or out."""

from __future__ import annotations

import msgspec

from attestation.envelope import b64url
from enclave.errors import CallerError
from enclave.key_specs import OPAQUE_SECRET
from enclave.roster import Role
from enclave.secret_upload import SecretUpload
from enclave.tokens import Act
from enclave.workload import ReleaseBody
from kms.admission import Outcome
from kms.body import Reply, Request, read_body
from kms.endpoint import Answer, Context, Endpoint, Parameter, executed, outcome, reply
from kms.errors import NotFoundError, RequestError
from kms.fleet.secrets import hand_in, nonces_for, release
from kms.keys import Key, KeyRecord
from kms.routes.key import certified_now
from kms.routes.shapes import KeyRecordJson, known_key, record_of

LISTED_MAX = 200
"""Secrets in one answer: records with certificates are about 5 KiB each."""


class SealedShareJson(Request, frozen=True):
    """A share sealed (base64url) to the KEM key of one boot of one node."""

    slot: str
    boot_counter: int
    sealed: str


class SecretUploadJson(Request, frozen=True):
    """A wrapped secret (base64url) and the sealed shares of its scalar; commitments are hex."""

    secret: str
    name: str
    policy: str
    shares_needed: int
    commitments: list[str]
    wrapped: str
    created_at: int
    shares: list[SealedShareJson]


class SecretStored(Reply, frozen=True):
    """The record, and the nodes that have not taken their share."""

    record: KeyRecordJson
    missing: list[str]


class SecretList(Reply, frozen=True):
    """Records by id; `next_cursor` is null on the last page."""

    secrets: list[KeyRecordJson]
    next_cursor: str | None


class ChallengeRequest(Request, frozen=True):
    """Nothing to say yet."""


class NonceJson(Reply, frozen=True):
    """A node's nonce, good once until `expires_at`; nonce and signature are base64url."""

    slot: str
    nonce: str
    boot_counter: int
    expires_at: int
    signature: str


class Challenge(Reply, frozen=True):
    """Nonces that the workload's evidence has to answer, all in one Merkle root, in this order."""

    secret: str
    version: int
    nonces: list[NonceJson]


class NonceGiven(Request, frozen=True):
    """A nonce as the challenge gave it."""

    slot: str
    nonce: str


class ReleaseRequest(Request, frozen=True):
    """Evidence over recipient key and nonces; all base64url."""

    evidence: str
    recipient: str
    nonces: list[NonceGiven]
    collateral: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Certificates of the workload's own platform that nodes may lack."""


class ReleasedShareJson(Reply, frozen=True):
    """One node's share, sealed (HPKE, base64url) to the recipient."""

    slot: str
    index: int
    sealed: str


class ReleasedSecret(Reply, frozen=True):
    """What the workload combines and unwraps."""

    secret: str
    version: int
    request_id: str
    shares: list[ReleasedShareJson]
    wrapped: str


async def put(context: Context) -> Answer:
    """Check form and policy, have the nodes check and keep their shares."""
    gateway, call = context.gateway, context.caller
    gateway.admissions.require_role(call, Role.ADMIN)
    secret = context.params["secret"]
    gateway.admissions.require_resource(call, secret)
    # Before admission: of a body that may be a plaintext not even a digest is kept.
    upload = SecretUpload.parse(context.body)
    if upload.secret != secret:
        raise RequestError("the upload is of another secret than the path", code="request.resource")
    certificate = upload.certificate(gateway.roster.cluster_id)
    unknown = sorted(set(certificate.slots) - set(gateway.fleet.links))
    if unknown:
        raise CallerError("the upload names slots the roster does not have", code="secret.nodes")
    if gateway.directory.policy(upload.policy) is None:
        raise CallerError("no such policy", code="order.policy", hint="put it first: without it nothing is released")

    async def work() -> Outcome:
        signatures, missing = await hand_in(gateway.fleet, certificate, token=call.token_text, body=call.body)
        record = KeyRecord(body=certificate.body(), signatures=signatures, labels={})
        key = Key.of(record, gateway.fleet.clock())
        await gateway.store.put_key(key.stored())
        gateway.keyring.put(key)
        stored = SecretStored(record=record_of(key, gateway.directory), missing=missing)
        return outcome(stored, status=201, facts={"key": key.key, "missing": missing})

    return await executed(context, work)


async def show(context: Context) -> Answer:
    """The record with a certificate signed by the nodes' present boots."""
    key = await certified_now(context.gateway, await _visible(context))
    return reply(record_of(key, context.gateway.directory))


async def listing(context: Context) -> Answer:
    """Secrets the principal may see."""
    gateway, call = context.gateway, context.caller
    gateway.admissions.require_resource(call, "*")
    after = context.query.get("cursor", "sec_")
    if not after.startswith("sec_") or len(after) > 64 or not after.isascii():
        raise RequestError("expected the next_cursor of a page", code="request.cursor")
    page = await gateway.keyring.page(after=after, limit=LISTED_MAX)
    found = [
        record_of(key, gateway.directory)
        for key in page
        if key.certificate.spec == OPAQUE_SECRET
        and gateway.directory.may_see(call.principal, key=key.key, policy=key.certificate.policy)
    ]
    return reply(SecretList(secrets=found, next_cursor=page[-1].key if len(page) == LISTED_MAX else None))


async def challenge(context: Context) -> Answer:
    """Collect a nonce of every holder."""
    key = await _visible(context)
    read_body(context.body, ChallengeRequest)
    call = context.caller
    nonces = await nonces_for(context.gateway.fleet, key, token=call.token_text, body=call.body)
    return reply(
        Challenge(
            secret=key.key,
            version=key.certificate.version,
            nonces=[
                NonceJson(
                    slot=slot,
                    nonce=b64url(item.nonce),
                    boot_counter=item.boot_counter,
                    expires_at=item.expires_at,
                    signature=b64url(item.signature),
                )
                for slot, item in sorted(nonces.items(), key=lambda pair: key.index[pair[0]])
            ],
        )
    )


async def release_secret(context: Context) -> Answer:
    """Have the nodes whose nonces are answered judge the workload, and hand on their sealed shares."""
    key = await _visible(context)
    request = ReleaseBody.parse(context.body)
    gateway, call = context.gateway, context.caller
    digest = key.certificate.wrapped_digest or b""

    async def work() -> Outcome:
        slots = [item.slot for item in request.nonces]
        made = await release(gateway.fleet, key, slots, token=call.token_text, body=call.body, digest=digest)
        released = ReleasedSecret(
            secret=key.key,
            version=key.certificate.version,
            request_id=call.token.request_id.hex(),
            shares=[
                ReleasedShareJson(slot=slot, index=key.index[slot], sealed=b64url(sealed))
                for slot, sealed in made.shares.items()
            ],
            wrapped=b64url(made.wrapped),
        )
        return outcome(released, facts={"key": key.key, "signers": sorted(made.shares)})

    return await executed(context, work)


async def _visible(context: Context) -> Key:
    """The secret of the path for a token that names it; a hidden one and a missing one answer alike."""
    gateway = context.gateway
    key = await known_key(context, context.params["secret"])
    if key is None or key.certificate.spec != OPAQUE_SECRET:
        raise NotFoundError("no such secret, or none of yours")
    gateway.admissions.require_resource(context.caller, key.resource, key.key)
    return key


ENDPOINTS = (
    Endpoint(
        method="PUT", path="/v1/secrets/{secret}", summary="Store a secret sealed by the client", handler=put,
        act=Act.SECRETS_PUT, request=SecretUploadJson, reply=SecretStored, status=201, tag="secrets",
    ),
    Endpoint(
        method="GET", path="/v1/secrets/{secret}", summary="A secret's certificate", handler=show,
        act=Act.SECRETS_GET, reply=KeyRecordJson, tag="secrets",
    ),
    Endpoint(
        method="GET", path="/v1/secrets", summary="List secrets", handler=listing, act=Act.SECRETS_GET,
        reply=SecretList, tag="secrets",
        parameters=(
            Parameter(name="cursor", schema={"type": "string", "maxLength": 64}, description="next_cursor of a page"),
        ),
    ),
    Endpoint(
        method="POST", path="/v1/secrets/{secret}/challenge", summary="Nonces for a workload's evidence",
        handler=challenge, act=Act.SECRETS_RELEASE, request=ChallengeRequest, reply=Challenge, tag="secrets",
    ),
    Endpoint(
        method="POST", path="/v1/secrets/{secret}/release", summary="Release a secret to an attested workload",
        handler=release_secret, act=Act.SECRETS_RELEASE, request=ReleaseRequest, reply=ReleasedSecret, tag="secrets",
    ),
)  # fmt: skip
