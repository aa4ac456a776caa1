"""Cold start: an operator's signed word on where every slot's state stood (specs/rollback.md)."""

from __future__ import annotations

from enclave.wire.message import Message


class ColdStartRequest(Message, frozen=True):
    """The signed document (JSON envelope bytes)."""

    document: bytes


class ColdStartReply(Message, frozen=True):
    """Whether the node knows now that its state is the newest."""

    settled: bool
