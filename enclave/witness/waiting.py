"""Answers that may leave only once peers have stored the state they rest on: a prepare, and its opposite.

Rules kept (specs/rollback.md section 3): a node that signed one of the two is never made to sign the other by an
old disk; what is not covered yet is refused with `witness-pending` and given when asked for again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enclave.wire.message import Message

if TYPE_CHECKING:
    from enclave.ceremonies.steps import Work
    from enclave.state import NodeState

VERBS = frozenset({"ceremony-round", "ceremony-abort"})


def witnessed(node: NodeState, verb: str, request: Any, reply: Message | Work[Message]) -> Message | Work[Message]:
    """The reply, or its work, that fails with RefusedError (`witness-pending`) while witnesses are missing."""
    if isinstance(reply, Message):
        _check(node, verb, request.session)
        return reply
    return _afterwards(node, verb, request.session, reply)


def _afterwards(node: NodeState, verb: str, session: bytes, work: Work[Message]) -> Work[Message]:
    message = yield from work
    _check(node, verb, session)
    return message


def _check(node: NodeState, verb: str, session: bytes) -> None:
    if verb == "ceremony-abort" or node.ceremonies.pending.get(session) is not None:
        node.witness.check_covered(session)
