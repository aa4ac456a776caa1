"""Verbs of threshold ECDSA: ecdsa-start, ecdsa-round, ecdsa-abort (specs/threshold-ecdsa.md section 5)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from enclave.authorise import (
    Authorised,
    authorise_use,
    check_issuer,
    check_key_state,
    check_members,
    check_own_part,
    check_sign_policy,
    check_still_approved,
    take_attempt,
)
from enclave.child_keys import child_of
from enclave.ecdsa_sessions import Attempt
from enclave.errors import CallerError, RefusedError, VerdictError
from enclave.freezing import check_chain
from enclave.identity import is_same_boot
from enclave.key_specs import Custody
from enclave.ledger import ATTEMPTS_MAX
from enclave.payload.sign import Payload, parse_sign_body
from enclave.tokens import Act
from enclave.wire.ecdsa import EcdsaAbort, EcdsaMessage, EcdsaRound, EcdsaStart
from enclave.wire.message import Empty
from enclave.working import check_working

if TYPE_CHECKING:
    from enclave.state import NodeState

PURPOSE = b"ecdsa"
SPEC = "secp256k1-ecdsa"


def start(node: NodeState, connection: int, request: EcdsaStart, now: int) -> EcdsaMessage:
    """Round 1, once this node has judged the request, the payload and every signer itself."""
    authorised = authorise_use(node, request.token, request.body, Act.SIGN, now, item=request.item)
    key = authorised.key.certificate
    if key.spec != SPEC:
        raise CallerError(f"a {key.spec} key does not sign by threshold ECDSA", code="key.spec")
    if key.custody is not Custody.THRESHOLD:
        raise RefusedError(f"custody of this key is {key.custody}", code="key.custody")
    payload = parse_sign_body(authorised.body, key.usage, key.spec)
    assert payload.digest is not None
    check_sign_policy(node, authorised, payload, now)
    child = child_of(key, payload.path)
    if len(request.signers) != key.signing_quorum:
        # With more, parts of them could be shown different messages.
        raise CallerError(f"expected exactly {key.signing_quorum} signers", code="signers.count")
    if not 1 <= request.attempt <= ATTEMPTS_MAX:
        raise CallerError(f"expected an attempt number of 1 to {ATTEMPTS_MAX}", code="ecdsa.attempt")
    indices = check_members(node, authorised, request.signers, now)
    check_own_part(node, request.signers)
    attempt = node.ecdsa.open(
        connection,
        key=authorised.key,
        child=child,
        recheck=partial(_check_still_allowed, node, authorised, payload, now),
        members={
            index: node.verdicts.identity(slot, now) for index, slot in zip(indices, request.signers, strict=True)
        },
        digest=payload.digest,
        request_id=authorised.token.request_id,
        attempt=request.attempt,
        token_expires_at=authorised.token.expires_at,
        now=now,
    )
    take_attempt(node, authorised, PURPOSE, now)
    return node.ecdsa.begin(attempt)


def advance(node: NodeState, connection: int, request: EcdsaRound, now: int) -> EcdsaMessage:
    """Rounds 2 to 4, while what `start` relied on still holds."""
    attempt = node.ecdsa.find(connection, request.session)
    try:
        _check_members(node, attempt, now)
        attempt.recheck()
    except BaseException:
        node.ecdsa.abort(connection, request.session)
        raise
    return node.ecdsa.advance(attempt, request.round, request.messages, now)


def abort(node: NodeState, connection: int, request: EcdsaAbort, _now: int) -> Empty:
    """Wipe an attempt that the gateway has given up."""
    node.ecdsa.abort(connection, request.session)
    return Empty()


def _check_members(node: NodeState, attempt: Attempt, now: int) -> None:
    for member in attempt.members.values():
        if not is_same_boot(node.verdicts.identity(member.slot, now), member):
            raise VerdictError(f"{member.slot} has another identity than at the start", code="attestation-stale")


def _check_still_allowed(node: NodeState, authorised: Authorised, payload: Payload, now: int) -> None:
    """A revocation, a freeze or a lost lease between two rounds stops the release."""
    check_working(node, now)
    check_issuer(node, authorised.token)
    check_key_state(node, authorised.key.certificate.key)
    check_still_approved(node, authorised, now)
    check_chain(node.directory, authorised.key.certificate.usage, payload)
