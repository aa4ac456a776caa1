"""What the gateway keeps of a waiting request, and how it shows it to those who may see it.

The token in it authorises nothing any more: it lives a minute, and nodes want approvals besides.
"""

from __future__ import annotations

import msgspec

from attestation.envelope import b64url
from kms.body import Reply
from kms.problems import encode
from kms.store.protocol import StoredOperation

KIND = "approval"


class Given(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An approval as it was handed in."""

    approver: str
    credential: str
    signature: bytes
    at: int


class Details(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An operation of kind `approval`."""

    token: str
    body: bytes
    method: str
    path: str
    issued_at: int
    request_id: bytes
    key: str
    certificate: bytes
    """Body of the key's certificate, canonical JSON."""
    fingerprint: bytes
    group: str
    minimum: int
    policy: str
    policy_version: int
    approvals: tuple[Given, ...] = ()
    decided_by: str = ""
    """Who rejected or cancelled it."""


class GivenJson(Reply, frozen=True):
    """An approval that the gateway has."""

    approver: str
    at: int


class ApprovalJson(Reply, frozen=True, omit_defaults=True):
    """Everything an approver's client needs to render the request itself and to sign its fingerprint."""

    group: str
    minimum: int
    approvals: list[GivenJson]
    policy: str
    policy_version: int
    fingerprint: str
    """Hex, as the nodes computed it."""
    token: str
    """The request's token; dead after a minute."""
    body: str
    """The request's exact body, base64url."""
    path: str
    certificate: str
    """Body of the key's certificate, base64url."""
    decided_by: str | None = None


DECODER = msgspec.msgpack.Decoder(Details)


def details_of(operation: StoredOperation) -> Details:
    """The details of an operation of kind `approval`."""
    return DECODER.decode(operation.details)


def pack(details: Details) -> bytes:
    """Inverse of `details_of`."""
    return msgspec.msgpack.encode(details)


def approval_json(operation: StoredOperation) -> bytes | None:
    """The member `approval` of an operation; None for other kinds."""
    if operation.kind != KIND:
        return None
    details = details_of(operation)
    return encode(
        ApprovalJson(
            group=details.group,
            minimum=details.minimum,
            approvals=[GivenJson(approver=given.approver, at=given.at) for given in details.approvals],
            policy=details.policy,
            policy_version=details.policy_version,
            fingerprint=details.fingerprint.hex(),
            token=details.token,
            body=b64url(details.body),
            path=details.path,
            certificate=b64url(details.certificate),
            decided_by=details.decided_by or None,
        )
    )
