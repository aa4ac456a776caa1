"""Verbs of custody `reconstruct`: channel-open, channel-accept, release, assemble (specs/reconstruct.md)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from enclave.authorise import (
    Authorised,
    authorise_use,
    check_members,
    check_own_part,
    check_sign_policy,
    take_attempt,
)
from enclave.channel import ShareContext
from enclave.child_keys import child_of
from enclave.errors import CallerError, PeerError, RefusedError
from enclave.handlers.p256 import public_key_of
from enclave.imports.pending import WRAPPED
from enclave.key_specs import P256, Custody
from enclave.payload.sign import parse_sign_body
from enclave.secret import Secret
from enclave.threshold.p256 import sign_p256
from enclave.threshold.reconstruct import sign_ecdsa
from enclave.tokens import Act
from enclave.verdicts import ASSEMBLER_EVIDENCE_S_MAX
from enclave.wire.channel import ChannelOpening, ChannelOpenRequest
from enclave.wire.message import Empty
from enclave.wire.reconstruct import AssembleReply, AssembleRequest, ReleaseRequest, SealedShare

if TYPE_CHECKING:
    from enclave.state import NodeState

RELEASE = b"release"
ASSEMBLE = b"assemble"


def channel_open(node: NodeState, connection: int, request: ChannelOpenRequest, now: int) -> ChannelOpening:
    """A session key for the node in `slot`, sealed to the KEM key of its attested boot."""
    if request.slot == node.slot:
        raise CallerError("a node needs no channel to itself", code="channel.self")
    return node.channels.open(connection, node.verdicts.identity(request.slot, now), now)


def channel_accept(node: NodeState, _connection: int, request: ChannelOpening, now: int) -> Empty:
    """Take in a session opened by an attested peer."""
    node.channels.accept(request, node.verdicts.identity(request.sender, now), now)
    return Empty()


def release(node: NodeState, connection: int, request: ReleaseRequest, now: int) -> SealedShare:
    """This node's share, sealed to an assembler that the key's certificate names and that is trusted now."""
    authorised, _ = _authorised(node, request, request.assembler, now)
    check_own_part(node, request.signers)
    if request.assembler == node.slot:
        # Nothing has to travel: `assemble` takes the own share from where it is.
        return SealedShare(slot=node.slot, session=b"", counter=0, ciphertext=b"")
    receiver = node.verdicts.identity(request.assembler, now, evidence_s_max=ASSEMBLER_EVIDENCE_S_MAX)
    take_attempt(node, authorised, RELEASE, now)
    return node.channels.seal(connection, receiver, authorised.key.share, _context(authorised), now)


def assemble(node: NodeState, _connection: int, request: AssembleRequest, now: int) -> AssembleReply:
    """Join the shares of exactly the signer set, sign the payload parsed here once, and wipe everything."""
    authorised, digest = _authorised(node, request, node.slot, now)
    key = authorised.key.certificate
    indices = authorised.key.indices(request.signers)
    sealed = {share.slot: share for share in request.shares if share.slot != node.slot}
    wanted = [slot for slot in request.signers if slot != node.slot]
    if sorted(sealed) != sorted(wanted):
        raise CallerError("expected one sealed share of each other signer", code="signers.shares")
    take_attempt(node, authorised, ASSEMBLE, now, contributes=node.slot in request.signers)
    with ExitStack() as opened:
        shares: dict[int, Secret] = {}
        for slot, index in zip(request.signers, indices, strict=True):
            if slot == node.slot:
                shares[index] = authorised.key.share
            else:
                sender = node.verdicts.identity(slot, now)
                shares[index] = opened.enter_context(
                    node.channels.unseal(sealed[slot], sender, _context(authorised), now)
                )
        try:
            signature, recovery_id = _sign(node, authorised, shares, digest)
        except PeerError as error:
            # A share that travelled over an authenticated session does name its sender.
            culprits = [entry.slot for entry in key.nodes if str(entry.index) in error.culprits]
            raise PeerError(error.detail, culprits=culprits, code=error.code) from None
    return AssembleReply(signature=signature, recovery_id=recovery_id)


def _sign(node: NodeState, authorised: Authorised, shares: dict[int, Secret], digest: bytes) -> tuple[bytes, int]:
    """r || s and the recovery id, which P-256 signatures do not have (0)."""
    key = authorised.key.certificate
    public_shares = {entry.index: entry.public_share for entry in key.nodes}
    if key.spec != P256:
        return sign_ecdsa(shares=shares, public_key=key.public_key, public_shares=public_shares, digest=digest)
    signature = sign_p256(
        shares=shares,
        group_key=key.group_key or b"",
        public_shares=public_shares,
        public_key=public_key_of(node, authorised.key),
        key=key.key,
        version=key.version,
        digest=digest,
        wrapped=node.store.get(WRAPPED, key.key) or b"" if key.wrapped_digest else b"",
    )
    return signature, 0


def _authorised(
    node: NodeState, request: ReleaseRequest | AssembleRequest, assembler: str, now: int
) -> tuple[Authorised, bytes]:
    """The checks that releasing and assembling share; returns the request and the digest to sign."""
    authorised = authorise_use(node, request.token, request.body, Act.SIGN, now, item=request.item)
    key = authorised.key.certificate
    if key.custody is not Custody.RECONSTRUCT:
        raise RefusedError("shares of this key never leave their nodes", code="key.custody")
    payload = parse_sign_body(authorised.body, key.usage, key.spec)
    assert payload.digest is not None
    check_sign_policy(node, authorised, payload, now)
    child_of(key, payload.path)  # refuses every path: the shares make the certified key
    if assembler not in key.assemblers:
        raise RefusedError("the key's certificate does not name this assembler", code="assembler.not-named")
    if len(request.signers) != key.shares_needed:
        raise CallerError(f"expected exactly {key.shares_needed} signers", code="signers.count")
    check_members(node, authorised, request.signers, now)
    node.verdicts.require([assembler], now, evidence_s_max=ASSEMBLER_EVIDENCE_S_MAX)
    return authorised, payload.digest


def _context(authorised: Authorised) -> ShareContext:
    certificate = authorised.key.certificate
    return ShareContext(
        key=certificate.key,
        version=certificate.version,
        epoch=certificate.epoch,
        request_id=authorised.token.request_id,
    )
