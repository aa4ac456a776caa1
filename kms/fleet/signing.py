"""One Ed25519 signature: choose signers, send each the exact request with one-use nonces, aggregate, verify.

Steps (specs/frost.md): 1 choose; 2 take a published nonce of each; 3 one round trip; 4 aggregate, which
verifies the result under the group key; 5 on a bad share exclude its signer and begin again with fresh
nonces.  A lost or slow node costs another attempt inside the same request, never the request.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from enclave.errors import EnclaveError, PeerError
from enclave.threshold import frost
from enclave.wire import NonceCommitment, Signer, SignReply, SignRequest
from kms.errors import UnavailableError
from kms.fleet.attempts import ATTEMPTS_MAX, Trouble
from kms.fleet.fleet import Fleet
from kms.fleet.nonces import ED25519
from kms.keys import Key
from kms.observe import logger

SIGN_TIMEOUT_S = 4.0
"""Longest wait for one attempt's shares: far above a busy node's queue, and three attempts fit a client's patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A verified Ed25519 signature (64 bytes) and who made it."""

    signature: bytes
    signers: tuple[str, ...]
    culprits: tuple[str, ...] = ()
    """Slots whose share was wrong on the way."""


async def sign_ed25519(fleet: Fleet, key: Key, *, token: str, body: bytes, message: bytes) -> Signature:
    """The signature over `message`, which the nodes derive themselves from `body`.

    Raises NodeRefusal (what the nodes say), UnavailableError.
    """
    trouble = Trouble()
    needed = key.certificate.signing_quorum
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            slots = key.in_order(fleet.choose(key.certificate.slots, needed, excluded=trouble.excluded))
        except UnavailableError as error:
            raise trouble.exhausted(error) from None
        nonces = await asyncio.gather(*(fleet.nonces(slot, ED25519).take() for slot in slots), return_exceptions=True)
        if not await trouble.absorb(fleet, dict(zip(slots, nonces, strict=True))):
            continue
        taken = [nonce for nonce in nonces if isinstance(nonce, NonceCommitment)]
        shares = await _round(fleet, slots, taken, token, body)
        if not await trouble.absorb(fleet, dict(zip(slots, shares, strict=True))):
            continue
        replies = {slot: reply for slot, reply in zip(slots, shares, strict=True) if isinstance(reply, SignReply)}
        try:
            signature = frost.aggregate(
                public_key=key.certificate.public_key,
                message=message,
                commitments=[
                    (key.index[slot], nonce.hiding, nonce.binding) for slot, nonce in zip(slots, taken, strict=True)
                ],
                shares={key.index[slot]: reply.share for slot, reply in replies.items()},
                public_shares=key.public_shares,
                # Any signer's word for R will do: the signature is verified with it, and without it if that fails.
                group_commitment=next(iter(replies.values())).group_commitment,
            )
        except PeerError as error:
            culprits = [slot for slot in slots if str(key.index[slot]) in error.culprits]
            logger().error("bad-share", key=key.key, culprits=culprits, attempt=attempt)
            trouble.blame(fleet, culprits)
            continue
        except EnclaveError as error:
            # A node published something that is no commitment: nobody can be named, others may do.
            logger().error("aggregation-failed", key=key.key, code=error.code, slots=slots, attempt=attempt)
            trouble.excluded.update(slots[:1])
            continue
        return Signature(signature=signature, signers=tuple(slots), culprits=tuple(sorted(trouble.culprits)))
    raise trouble.exhausted()


async def _round(
    fleet: Fleet, slots: list[str], nonces: list[NonceCommitment], token: str, body: bytes
) -> list[SignReply | BaseException]:
    signers = [Signer(slot, nonce.hiding, nonce.binding) for slot, nonce in zip(slots, nonces, strict=True)]
    replies: list[SignReply | BaseException] = await asyncio.gather(
        *(
            fleet.links[slot].call(
                "sign",
                SignRequest(token=token, body=body, nonce=nonce.nonce, signers=signers),
                timeout_s=SIGN_TIMEOUT_S,
            )
            for slot, nonce in zip(slots, nonces, strict=True)
        ),
        return_exceptions=True,
    )
    return replies
