"""Verbs that find the public key of a new P-256 key: p256-release, p256-derive (specs/p256.md section 3).

Authorised by the very order that made the key: its id follows from the order's token.  Signing afterwards is custody
`reconstruct` like any other.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from enclave.authorise import authorise_order, check_key_state
from enclave.ceremonies import key_id_of
from enclave.channel import ShareContext
from enclave.derived_key import derived_key_bytes
from enclave.errors import CallerError, PeerError, RefusedError
from enclave.key_specs import P256
from enclave.keys import HeldKey
from enclave.secret import Secret
from enclave.threshold.p256 import derive_public
from enclave.tokens import Token, key_resource
from enclave.verdicts import ASSEMBLER_EVIDENCE_S_MAX
from enclave.wire.documents import CertificateSignature
from enclave.wire.message import Empty
from enclave.wire.reconstruct import P256Derive, P256Release, SealedShare

if TYPE_CHECKING:
    from enclave.state import NodeState

RELEASE, DERIVE = b"p256-release", b"p256-derive"
STORED = "p256-public"


def release(node: NodeState, connection: int, request: P256Release, now: int) -> SealedShare:
    """This node's share, sealed to an assembler the new key's certificate names."""
    token, held, _ = _authorised(node, request.token, request.body, request.signers, request.assembler, now)
    if node.slot not in request.signers or node.slot == request.assembler:
        raise CallerError("this node's share does not travel", code="signers.not-member")
    receiver = node.verdicts.identity(request.assembler, now, evidence_s_max=ASSEMBLER_EVIDENCE_S_MAX)
    node.ledger.take(RELEASE + request.assembler.encode(), token.request_id, expires_at=token.expires_at, now=now)
    return node.channels.seal(connection, receiver, held.share, _context(held, token), now)


def derive(node: NodeState, _connection: int, request: P256Derive, now: int) -> Empty:
    """Join the shares, compute the public key, keep it and wipe the rest."""
    token, held, indices = _authorised(node, request.token, request.body, request.signers, node.slot, now)
    sealed = {share.slot: share for share in request.shares}
    if sorted(sealed) != sorted(slot for slot in request.signers if slot != node.slot):
        raise CallerError("expected one sealed share of each other signer", code="signers.shares")
    node.ledger.take(DERIVE, token.request_id, expires_at=token.expires_at, now=now)
    key = held.certificate
    with ExitStack() as opened:
        shares: dict[int, Secret] = {}
        for slot, index in zip(request.signers, indices, strict=True):
            if slot == node.slot:
                shares[index] = held.share
                continue
            sender = node.verdicts.identity(slot, now)
            share = node.channels.unseal(sealed[slot], sender, _context(held, token), now)
            shares[index] = opened.enter_context(share)
        try:
            public_key = derive_public(
                shares=shares,
                group_key=key.group_key or b"",
                public_shares={entry.index: entry.public_share for entry in key.nodes},
                key=key.key,
                version=key.version,
            )
        except PeerError as error:
            # A share that travelled over an authenticated session does name its sender.
            culprits = [entry.slot for entry in key.nodes if str(entry.index) in error.culprits]
            raise PeerError(error.detail, culprits=culprits, code=error.code) from None
    node.store.put(STORED, key_resource(key.key, key.version), public_key)
    return Empty()


def public_key_of(node: NodeState, held: HeldKey) -> bytes:
    """The public key this assembler computed, or an import stated; raises RefusedError (`key.no-public-key`)."""
    if held.certificate.public_key:
        return held.certificate.public_key
    found = node.store.get(STORED, key_resource(held.certificate.key, held.certificate.version))
    if found is None:
        raise RefusedError("this assembler never computed the public key", code="key.no-public-key")
    return found


def with_statement(node: NodeState, held: HeldKey, signature: CertificateSignature) -> CertificateSignature:
    """The certificate's signature with this assembler's word for the public key, if it has one."""
    found = node.store.get(STORED, key_resource(held.certificate.key, held.certificate.version))
    if held.certificate.spec != P256 or found is None:
        return signature
    statement = derived_key_bytes(
        held.certificate, slot=node.slot, boot_counter=signature.boot_counter, public_key=found
    )
    return msgspec.structs.replace(signature, derived_key=found, derived_signature=node.identity.sign(statement))


def _authorised(
    node: NodeState, text: str, body: bytes, signers: list[str], assembler: str, now: int
) -> tuple[Token, HeldKey, list[int]]:
    token = authorise_order(node, text, body, now)
    held = node.keys.get(key_id_of(token.request_id), 1)
    key = held.certificate
    if key.spec != P256:
        raise CallerError(f"a {key.spec} key has its public key already", code="key.spec")
    check_key_state(node, key.key)
    if assembler not in key.assemblers:
        raise RefusedError("the key's certificate does not name this assembler", code="assembler.not-named")
    if len(signers) != key.shares_needed:
        raise CallerError(f"expected exactly {key.shares_needed} signers", code="signers.count")
    indices = held.indices(signers)
    node.verdicts.require(signers, now)
    node.verdicts.require([assembler], now, evidence_s_max=ASSEMBLER_EVIDENCE_S_MAX)
    return token, held, indices


def _context(held: HeldKey, token: Token) -> ShareContext:
    certificate = held.certificate
    return ShareContext(
        key=certificate.key, version=certificate.version, epoch=certificate.epoch, request_id=token.request_id
    )
