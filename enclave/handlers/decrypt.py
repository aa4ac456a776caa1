"""Verb of threshold decryption: partial (enclave.threshold.hpke)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.authorise import (
    authorise_use,
    check_decrypt_policy,
    check_members,
    check_own_part,
    take_attempt,
)
from enclave.errors import CallerError
from enclave.payload.decrypt import parse_decrypt_body
from enclave.threshold.hpke import partial as partial_point
from enclave.threshold.hpke import seal
from enclave.tokens import Act
from enclave.wire import PartialReply, PartialRequest, tagged

if TYPE_CHECKING:
    from enclave.state import NodeState

PURPOSE = b"partial"
SPEC = "hpke-x25519"


def partial(node: NodeState, _connection: int, request: PartialRequest, now: int) -> PartialReply:
    """A partial Diffie-Hellman point: sealed to the recipient the agent named, in clear only where policy says so."""
    authorised = authorise_use(node, request.token, request.body, Act.DECRYPT, now)
    key = authorised.key.certificate
    if key.spec != SPEC:
        raise CallerError(f"a {key.spec} key does not decrypt", code="key.spec")
    body = parse_decrypt_body(request.body)
    check_decrypt_policy(node, authorised, body, now)
    indices = check_members(node, authorised, request.signers, now)
    check_own_part(node, request.signers)
    take_attempt(node, authorised, PURPOSE, now)
    point = partial_point(authorised.key.share, authorised.key.index, indices, body.enc)
    if body.recipient is None:
        return PartialReply(partial=point)
    info = partial_info(authorised.token.request_id, key.key, node.slot)
    return PartialReply(sealed=seal(body.recipient, point, info))


def partial_info(request_id: bytes, key: str, slot: str) -> bytes:
    """HPKE info of a sealed partial: which answer to which request it is."""
    return tagged("partial", request_id, key.encode(), slot.encode())
