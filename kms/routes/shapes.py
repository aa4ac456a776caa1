"""The JSON of keys, shared by the endpoints that show or use them, and how a key is found for a principal."""

from __future__ import annotations

import msgspec

from enclave.key_specs import Custody
from enclave.tokens import key_resource
from kms.body import Reply, Request
from kms.directory import Directory
from kms.endpoint import Context
from kms.errors import ForbiddenError, NotFoundError
from kms.keys import Key


class KeyOrderJson(Request, frozen=True):
    """The order for a new key; nodes read the same bytes."""

    name: str
    spec: str
    policy: str
    shares_needed: int | msgspec.UnsetType = msgspec.UNSET
    """T; 3 unless given, 2 for threshold ECDSA."""
    usage: str | msgspec.UnsetType = msgspec.UNSET
    custody: str | msgspec.UnsetType = msgspec.UNSET
    nodes: list[str] | msgspec.UnsetType = msgspec.UNSET
    """All of the roster's unless given."""
    assemblers: list[str] | msgspec.UnsetType = msgspec.UNSET
    exportable: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether a policy may ever allow the key to leave the nodes; false unless given."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class CertificateSignatureJson(Reply, frozen=True, omit_defaults=True):
    """A holder's signature over the certificate body; key and signature are base64url."""

    slot: str
    boot_counter: int
    identity_key: str
    signature: str
    derived_key: str | None = None
    """Public key of a P-256 key, as this assembler states it."""
    derived_signature: str | None = None


class CertificateJson(Reply, frozen=True):
    """The certificate body (canonical JSON, base64url) and who signed it."""

    body: str
    signatures: list[CertificateSignatureJson]


class KeyRecordJson(Reply, frozen=True):
    """A key; everything but `state`, `labels` and `accept_common` is what its certificate says."""

    key: str
    name: str
    version: int
    spec: str
    usage: str
    custody: str
    state: str
    policy: str
    shares_needed: int
    signing_quorum: int
    privacy_threshold: int
    nodes: list[str]
    assemblers: list[str]
    epoch: int
    activated_at: int
    origin: str
    """`generated`, or `imported`: then somebody had the whole key once."""
    exportable: bool
    """Whether a policy may allow the key to leave the nodes."""
    public_key: str
    """Hex."""
    addresses: dict[str, str]
    labels: dict[str, str]
    accept_common: list[str]
    """Of `operator` and `provider`: what all nodes of a key may share, because the roster says so openly."""
    certificate: CertificateJson


class KeyList(Reply, frozen=True):
    """One page; `next_cursor` is null on the last."""

    keys: list[KeyRecordJson]
    next_cursor: str | None


def record_of(key: Key, directory: Directory) -> KeyRecordJson:
    """A key as the API shows it."""
    common = sorted(str(dimension) for dimension in directory.roster.diversity.accept_common)
    facts = key.to_json(state=directory.key_state(key.key)) | {"accept_common": common}
    return msgspec.convert(facts, KeyRecordJson)


async def visible_key(context: Context) -> Key:
    """The key of the path; raises NotFoundError alike for a missing one and one that is hidden from the principal."""
    key = await known_key(context, context.params["key"])
    if key is None or key.certificate.custody is Custody.RELEASE or not key.is_complete:
        raise NotFoundError("no such key, or none of yours")
    return key


async def known_key(context: Context, key: str) -> Key | None:
    """The key or secret of this id unless it is missing or hidden from the principal, which look and last alike."""
    directory, principal = context.gateway.directory, context.caller.principal
    return await context.gateway.keyring.visible(
        key, lambda policy: directory.may_see(principal, key=key, policy=policy)
    )


async def usable_key(context: Context) -> Key:
    """The key of the path for use by an agent whose token names exactly its current version.

    Raises NotFoundError, ForbiddenError, CredentialError (`token.resource`).
    """
    key = await visible_key(context)
    if context.gateway.directory.is_operator(context.caller.principal):
        raise ForbiddenError("expected an agent: operators make keys, agents use them", code="role.missing")
    named = context.caller.token.resource
    for version in range(1, key.certificate.version):
        # An earlier version is used by whoever names it: to move what its address holds, to read what it sealed.
        if named == key_resource(key.key, version):
            key = key.at_version(version) or key
            break
    context.gateway.admissions.require_resource(context.caller, key.resource)
    return key
