"""What approvers, agents and nodes sign about one waiting request (specs/approvals.md sections 3 to 5).

Rules kept: the fingerprint covers everything an approval is about, the words the approver read included; every
signature has its own tag, so none counts for anything else.
"""

from __future__ import annotations

import base64
import hashlib

from enclave.wire.message import tagged

APPROVE, REJECT = "approve", "reject"
DECISIONS = (APPROVE, REJECT)


def fingerprint_of(
    *,
    cluster: bytes,
    request_id: bytes,
    body: bytes,
    resource: str,
    policy: str,
    policy_version: int,
    summary: str,
    expires_at: int,
) -> bytes:
    """32 bytes that stand for one operation; `resource` is `key_.../<version>`, `summary` the rendered text."""
    parts = (
        cluster,
        request_id,
        hashlib.sha256(body).digest(),
        resource.encode(),
        policy.encode(),
        policy_version.to_bytes(8, "big"),
        summary.encode(),
        expires_at.to_bytes(8, "big"),
    )
    return hashlib.sha256(tagged("operation", *parts)).digest()


def operation_id(request_id: bytes) -> str:
    """The id of the operation that a request begins: a repeated request finds the same one."""
    digest = hashlib.sha256(tagged("operation-id", request_id)).digest()[:16]
    return "op_" + base64.b32encode(digest).decode("ascii").rstrip("=").lower()


def decision_bytes(*, cluster: bytes, fingerprint: bytes, approver: str, decision: str) -> bytes:
    """What an approver signs; `decision` is `approve` or `reject`."""
    return tagged("operation-decision", cluster, fingerprint, approver.encode(), decision.encode())


def parked_bytes(
    *,
    cluster: bytes,
    slot: str,
    boot_counter: int,
    request_id: bytes,
    fingerprint: bytes,
    received_at: int,
    expires_at: int,
) -> bytes:
    """What a node signs to say that it verified the token while it lived, and the payload against policy."""
    return tagged(
        "parked",
        cluster,
        slot.encode(),
        boot_counter.to_bytes(8, "big"),
        request_id,
        fingerprint,
        received_at.to_bytes(8, "big"),
        expires_at.to_bytes(8, "big"),
    )
