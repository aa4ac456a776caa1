"""What would policy say: a decision without its consequences."""

from __future__ import annotations

from enclave.wire.message import Message


class EvaluateRequest(Message, frozen=True):
    """A question under a request token (act `policies.get`, resource the policy) over exactly `body`."""

    token: str
    body: bytes


class EvaluateReply(Message, frozen=True):
    """The decision with its tree of rules and checks, canonical JSON."""

    decision: bytes
