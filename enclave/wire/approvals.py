"""Requests that wait for people: parked, decided, executed."""

from __future__ import annotations

import msgspec

from enclave.wire.message import Message


class ParkRequest(Message, frozen=True):
    """Ask a node to verify a request whose rule wants approvals, while its token lives."""

    token: str
    body: bytes


class ParkedRequest(Message, frozen=True):
    """Ask for this boot's statement about a request parked before."""

    request_id: bytes


class Parked(Message, frozen=True):
    """A node's word that it verified a request; signed over enclave.approvals.fingerprint.parked_bytes()."""

    slot: str
    boot_counter: int
    request_id: bytes
    fingerprint: bytes
    received_at: int
    expires_at: int
    signature: bytes
    group: str
    minimum: int
    """What the rule asks for; informative, nobody signs it."""
    policy: str
    policy_version: int


class Approval(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An approver's signature over enclave.approvals.fingerprint.decision_bytes()."""

    approver: str
    credential: str
    """Key id."""
    signature: bytes


class ApprovedRequest(Message, frozen=True):
    """Everything a node needs to execute a request whose token has expired."""

    token: str
    body: bytes
    statements: list[Parked]
    approvals: list[Approval]


class Granted(Message, frozen=True):
    """This node will execute the request over this connection until then (Unix seconds)."""

    until: int


class RejectRequest(Message, frozen=True):
    """An approver's rejection of a parked request."""

    request_id: bytes
    rejection: Approval


class CancelRequest(Message, frozen=True):
    """The requester's or an administrator's cancellation: a token for the operation, act `operations.cancel`."""

    request_id: bytes
    token: str
