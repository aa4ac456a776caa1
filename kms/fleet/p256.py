"""The last step of making a P-256 key: each assembler computes the public key from shares sealed to it and states it.

Steps (specs/p256.md section 3), for each assembler alike: 1 sessions; 2 sealed shares of T holders; 3 derive; 4 its
certificate signature, now with the public key.  One assembler that succeeds makes the key usable.
"""

from __future__ import annotations

import asyncio

from enclave.errors import PeerError
from enclave.wire.documents import CertificateRequest, CertificateSignature
from enclave.wire.message import Empty
from enclave.wire.reconstruct import P256Derive, P256Release, SealedShare
from kms.errors import KmsError, NodeRefusal, UnavailableError
from kms.fleet.attestation import AttestationRelay
from kms.fleet.fleet import Fleet
from kms.keys import Key
from kms.observe import logger

TIMEOUT_S = 6.0
ATTEMPTS = 3
"""Others after sessions were found missing, or a share wrong; nodes give an order's assembler three."""


async def with_public_key(fleet: Fleet, relay: AttestationRelay, key: Key, *, token: str, body: bytes) -> Key:
    """The key with its public key stated by as many assemblers as can be reached.

    Raises UnavailableError (`ceremony-unfinished`) if none states one, PeerError if they state different ones.
    """
    made = await asyncio.gather(
        *(_at(fleet, relay, key, assembler, token, body) for assembler in key.certificate.assemblers)
    )
    signatures = [signature for signature in made if signature is not None and signature.derived_key]
    stated = {signature.derived_key for signature in signatures}
    if len(stated) > 1:
        raise PeerError("assemblers state different public keys", code="certificate.derived-key")
    if not stated:
        raise UnavailableError(
            "no assembler computed the public key of the new key; it can never be used",
            code="ceremony-unfinished",
            hint="order another one",
        )
    return key.with_signatures(signatures)


async def _at(
    fleet: Fleet, relay: AttestationRelay, key: Key, assembler: str, token: str, body: bytes
) -> CertificateSignature | None:
    excluded: set[str] = set()
    for _ in range(ATTEMPTS):
        try:
            return await _attempt(fleet, relay, key, assembler, token, body, excluded)
        except KmsError as error:
            logger().warning("public-key-failed", key=key.key, slot=assembler, code=error.code)
            # One assembler's word: it counts for what is asked of that assembler, and for nothing else.
            if isinstance(error, NodeRefusal):
                excluded |= {slot for slot in error.culprits if slot != assembler}
            for sender in key.certificate.slots:
                relay.forget_channels([sender], assembler)
    return None


async def _attempt(
    fleet: Fleet,
    relay: AttestationRelay,
    key: Key,
    assembler: str,
    token: str,
    body: bytes,
    excluded: set[str],
) -> CertificateSignature | None:
    certificate = key.certificate
    chosen = fleet.choose(
        certificate.slots,
        certificate.signing_quorum,
        excluded=excluded,
        preferred=[assembler],
        trusting=[assembler],
    )
    slots = key.in_order(chosen)
    senders = [slot for slot in slots if slot != assembler]
    await relay.ensure_channels(senders, assembler)
    request = P256Release(token=token, body=body, signers=slots, assembler=assembler)
    replies = await asyncio.gather(
        *(fleet.links[slot].call("p256-release", request, timeout_s=TIMEOUT_S) for slot in senders)
    )
    shares = [reply for reply in replies if isinstance(reply, SealedShare)]
    derive = P256Derive(token=token, body=body, signers=slots, shares=shares)
    done = await fleet.links[assembler].call("p256-derive", derive, timeout_s=TIMEOUT_S)
    if not isinstance(done, Empty):
        return None
    signature = await fleet.links[assembler].call("certificate", CertificateRequest(key=key.key))
    return signature if isinstance(signature, CertificateSignature) else None
