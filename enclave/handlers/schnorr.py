"""Verb of BIP-340 signing: schnorr-sign (BIP-445; enclave.threshold.bip340)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.authorise import authorise_use, check_members, check_own_part, check_sign_policy, take_attempt
from enclave.child_keys import child_of, share_of
from enclave.errors import CallerError
from enclave.payload.sign import parse_sign_body
from enclave.schnorr_key import SPEC, signer_set, tweaks_of
from enclave.threshold.bip340 import sign as sign_bip340
from enclave.tokens import Act
from enclave.wire.signing import SchnorrSignReply, SchnorrSignRequest

if TYPE_CHECKING:
    from enclave.state import NodeState

PURPOSE = b"schnorr-sign"


def sign(node: NodeState, connection: int, request: SchnorrSignRequest, now: int) -> SchnorrSignReply:
    """This node's signature share over the payload it parsed itself from the agent's body."""
    authorised = authorise_use(node, request.token, request.body, Act.SIGN, now, item=request.item)
    key = authorised.key.certificate
    if key.spec != SPEC:
        raise CallerError(f"a {key.spec} key makes no BIP-340 signatures", code="key.spec")
    payload = parse_sign_body(authorised.body, key.usage, key.spec)
    assert payload.message is not None
    check_sign_policy(node, authorised, payload, now)
    child = child_of(key, payload.path)
    check_members(node, authorised, request.signers, now)
    check_own_part(node, request.signers)
    take_attempt(node, authorised, PURPOSE, now)
    # Popped before anything is computed: whatever fails from here on, this nonce is gone.
    nonce = node.schnorr_pool(connection).pop(request.nonce, now)
    try:
        with share_of(authorised.key.share, child) as own:
            share, nonce_point = sign_bip340(
                signers=signer_set(child.facts, request.signers),
                index=authorised.key.index,
                share=own,
                message=payload.message,
                aggregate_nonce=request.aggregate_nonce,
                nonce=nonce,
                tweaks=tweaks_of(child.facts),
            )
    finally:
        nonce.drop()
    return SchnorrSignReply(share=share, nonce_point=nonce_point)
