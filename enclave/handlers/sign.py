"""Verbs of FROST signing: nonces, sign (RFC 9591; enclave.threshold.frost)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.authorise import authorise_use, check_members, check_own_part, check_sign_policy, take_attempt
from enclave.child_keys import child_of, share_of
from enclave.errors import CallerError
from enclave.payload.sign import parse_sign_body
from enclave.schnorr_key import SPEC as SCHNORR_SUITE
from enclave.threshold.frost import sign as sign_frost
from enclave.tokens import Act
from enclave.wire.signing import NoncesReply, NoncesRequest, SignReply, SignRequest

if TYPE_CHECKING:
    from enclave.state import NodeState

PURPOSE = b"sign"
SUITE = "ed25519"


def nonces(node: NodeState, connection: int, request: NoncesRequest, now: int) -> NoncesReply:
    """Fresh one-use commitments for this connection; each ciphersuite has its own."""
    if request.suite == SCHNORR_SUITE:
        return NoncesReply(nonces=node.schnorr_pool(connection).publish(request.count, now))
    if request.suite != SUITE:
        raise CallerError(f"expected suite {SUITE} or {SCHNORR_SUITE}", code="nonces.suite")
    return NoncesReply(nonces=node.pool(connection).publish(request.count, now))


def sign(node: NodeState, connection: int, request: SignRequest, now: int) -> SignReply:
    """This node's signature share over the payload it parsed itself from the agent's body."""
    authorised = authorise_use(node, request.token, request.body, Act.SIGN, now, item=request.item)
    key = authorised.key.certificate
    if key.spec != SUITE:
        raise CallerError(f"a {key.spec} key does not sign by FROST", code="key.spec")
    payload = parse_sign_body(authorised.body, key.usage, key.spec)
    assert payload.message is not None
    check_sign_policy(node, authorised, payload, now)
    child = child_of(key, payload.path)
    slots = [signer.slot for signer in request.signers]
    indices = check_members(node, authorised, slots, now)
    check_own_part(node, slots)
    take_attempt(node, authorised, PURPOSE, now)
    # Popped before anything is computed: whatever fails from here on, this nonce is gone.
    nonce = node.pool(connection).pop(request.nonce, now)
    try:
        with share_of(authorised.key.share, child) as own:
            share, group_commitment = sign_frost(
                share=own,
                index=authorised.key.index,
                public_key=child.facts.public_key,
                message=payload.message,
                commitments=[
                    (index, signer.hiding, signer.binding)
                    for index, signer in zip(indices, request.signers, strict=True)
                ],
                nonce=nonce,
                threshold=key.shares_needed,
            )
    finally:
        nonce.drop()
    return SignReply(share=share, group_commitment=group_commitment)
