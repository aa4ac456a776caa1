"""Verbs of threshold decryption: partial, open (specs/threshold-decryption.md)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from enclave.authorise import (
    Authorised,
    authorise_use,
    check_decrypt_policy,
    check_key_state,
    check_members,
    check_own_part,
    take_attempt,
)
from enclave.errors import CallerError, PeerError, RefusedError
from enclave.payload.decrypt import DecryptBody, context_info, parse_decrypt_body
from enclave.secret import Secret
from enclave.threshold import opening
from enclave.threshold.hpke import partial as partial_point
from enclave.threshold.hpke import prove_partial, seal
from enclave.tokens import Act
from enclave.verdicts import ASSEMBLER_EVIDENCE_S_MAX
from enclave.wire.decrypt import (
    OpenReply,
    OpenRequest,
    PartialReply,
    PartialRequest,
    opened_bytes,
    proven_partial_bytes,
)
from enclave.wire.message import tagged

if TYPE_CHECKING:
    from enclave.state import NodeState

PURPOSE = b"partial"
OPEN = b"open"
SPEC = "hpke-x25519"


def partial(node: NodeState, connection: int, request: PartialRequest, now: int) -> PartialReply:
    """A partial Diffie-Hellman point: sealed to the recipient or the enclave the agent named, in clear only where
    policy says so."""
    authorised, body, indices = _authorised(node, request, now)
    check_own_part(node, request.signers)
    held = authorised.key
    if body.opener is not None:
        receiver = node.verdicts.identity(body.opener, now, evidence_s_max=ASSEMBLER_EVIDENCE_S_MAX)
        take_attempt(node, authorised, PURPOSE, now)
        with (
            opening.partial_point(held.share, held.index, indices, body.enc) as secret,
            opening.row_of(secret, prove_partial(held.share, held.index, indices, body.enc)) as row,
        ):
            return PartialReply(row=node.channels.seal_row(connection, receiver, row, _row_context(authorised), now))
    take_attempt(node, authorised, PURPOSE, now)
    point = partial_point(held.share, held.index, indices, body.enc)
    proof = prove_partial(held.share, held.index, indices, body.enc) if body.proofs else None
    if body.recipient is None:
        return PartialReply(partial=point, proof=proof)
    info = partial_info(authorised.token.request_id, held.certificate.key, node.slot)
    sealed = seal(body.recipient, point + (proof or b""), info)
    if not body.proofs:
        return PartialReply(sealed=sealed)
    own = node.identity.public
    statement = proven_partial_bytes(
        cluster=own.cluster,
        request_id=authorised.token.request_id,
        key=held.certificate.key,
        slot=node.slot,
        boot_counter=own.boot_counter,
        sealed=sealed,
    )
    return PartialReply(sealed=sealed, boot_counter=own.boot_counter, signature=node.identity.sign(statement))


def open_inside(node: NodeState, _connection: int, request: OpenRequest, now: int) -> OpenReply:
    """Open the ciphertext here with its context, and seal the plaintext to whom the request names, nobody else."""
    authorised, body, indices = _authorised(node, request, now)
    if body.opener != node.slot:
        raise RefusedError("the request names another node to open it", code="opener.not-named")
    key = authorised.key.certificate
    recipient, info, version = _destination(node, authorised, body)
    sent = {row.slot: row.sealed for row in request.rows}
    if sorted(sent) != sorted(slot for slot in request.signers if slot != node.slot) or len(sent) != len(request.rows):
        raise CallerError("expected one row of each other signer", code="signers.rows")
    take_attempt(node, authorised, OPEN, now, contributes=node.slot in request.signers)
    with ExitStack() as opened:
        points: list[Secret] = []
        rows: dict[int, Secret] = {}
        for slot, index in zip(request.signers, indices, strict=True):
            if slot == node.slot:
                own = opening.partial_point(authorised.key.share, index, indices, body.enc)
                points.append(opened.enter_context(own))
                continue
            sender = node.verdicts.identity(slot, now)
            row = opened.enter_context(node.channels.open_row(sender, sent[slot], _row_context(authorised), now))
            if row.size != opening.ROW_BYTES:
                raise PeerError("a row is a point and a proof", culprits=[slot], code="partial.invalid")
            rows[index] = row
            points.append(opened.enter_context(row.part(0, opening.POINT_BYTES)))
        try:
            sealed = opening.open_and_reseal(
                points,
                enc=body.enc,
                ciphertext=body.ciphertext,
                public_key=key.public_key,
                info=body.info,
                recipient=recipient,
                recipient_info=info,
            )
        except CallerError:
            wrong = opening.culprits(
                rows,
                ids=indices,
                enc=body.enc,
                public_shares={entry.index: entry.public_share for entry in key.nodes},
            )
            if not wrong:
                raise
            # Rows travel over authenticated sessions, so a wrong one does name its sender.
            slots = [entry.slot for entry in key.nodes if entry.index in wrong]
            raise PeerError("partial decryption is not proven", culprits=slots, code="partial.invalid") from None
    own_identity = node.identity.public
    statement = opened_bytes(
        cluster=own_identity.cluster,
        request_id=authorised.token.request_id,
        key=key.key,
        slot=node.slot,
        boot_counter=own_identity.boot_counter,
        sealed=sealed,
        target_version=version,
    )
    return OpenReply(
        sealed=sealed,
        target_version=version,
        boot_counter=own_identity.boot_counter,
        signature=node.identity.sign(statement),
    )


def partial_info(request_id: bytes, key: str, slot: str) -> bytes:
    """HPKE info of a sealed partial: which answer to which request it is."""
    return tagged("partial", request_id, key.encode(), slot.encode())


def opened_info(request_id: bytes, key: str, slot: str) -> bytes:
    """HPKE info of a plaintext that an enclave opened and sealed to the recipient."""
    return tagged("opened-plaintext", request_id, key.encode(), slot.encode())


def _authorised(
    node: NodeState, request: PartialRequest | OpenRequest, now: int
) -> tuple[Authorised, DecryptBody, list[int]]:
    """The checks that giving a partial and opening share."""
    signers = request.signers
    authorised = authorise_use(node, request.token, request.body, Act.DECRYPT, now, item=request.item)
    key = authorised.key.certificate
    if key.spec != SPEC:
        raise CallerError(f"a {key.spec} key does not decrypt", code="key.spec")
    body = parse_decrypt_body(authorised.body)
    if body.reference is not None and (body.reference.key, body.reference.version) != (key.key, key.version):
        raise CallerError("the ciphertext says it was sealed to another key", code="decrypt.other-key")
    check_decrypt_policy(node, authorised, body, now)
    indices = check_members(node, authorised, signers, now)
    if set(signers) & set(body.without):
        raise CallerError("the request excludes one of the signers", code="signers.excluded")
    if body.opener is not None:
        if key.node(body.opener) is None:
            raise CallerError("the node that opens holds no share of this key", code="payload.opener")
        node.verdicts.require([body.opener], now, evidence_s_max=ASSEMBLER_EVIDENCE_S_MAX)
    return authorised, body, indices


def _destination(node: NodeState, authorised: Authorised, body: DecryptBody) -> tuple[bytes, bytes, int]:
    """Whom the plaintext is sealed to: X25519 key, HPKE info, and the key's version if it is a key of the cluster."""
    if body.target is None:
        assert body.recipient is not None
        key = authorised.key.certificate.key
        return body.recipient, opened_info(authorised.token.request_id, key, node.slot), 0
    # The public key comes from this node's own record of the key, so that nobody can put another in its place.
    target = node.keys.newest(body.target.key).certificate
    if target.spec != SPEC:
        raise CallerError(f"a {target.spec} key does not encrypt", code="key.spec")
    check_key_state(node, target.key)
    return target.public_key, context_info(body.target.context), target.version


def _row_context(authorised: Authorised) -> bytes:
    """What a row is for: part of its associated data, known to both ends without the relay."""
    certificate = authorised.key.certificate
    return tagged(
        "partial-row",
        certificate.key.encode(),
        certificate.version.to_bytes(4, "big"),
        certificate.epoch.to_bytes(4, "big"),
        authorised.token.request_id,
    )
