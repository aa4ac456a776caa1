"""One Schnorr signature: choose signers, send each the exact request with one-use nonces, aggregate, verify.

Steps: 1 choose; 2 take a published nonce of each; 3 one round trip; 4 aggregate, which verifies the
result under the key; 5 on a bad share exclude its signer and begin again with fresh nonces.  A lost or
slow node costs another attempt inside the same request, never the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from enclave.errors import EnclaveError, PeerError
from enclave.wire.signing import NonceCommitment
from kms.errors import NodeRefusal, UnavailableError
from kms.fleet.attempts import ATTEMPTS_MAX, Trouble
from kms.fleet.fleet import Fleet
from kms.fleet.schemes import Scheme
from kms.keys import Key
from kms.observe import logger

SIGN_TIMEOUT_S = 4.0
"""Longest wait for one attempt's shares: far above a busy node's queue, and three attempts fit a client's patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A verified signature (64 bytes) and who made it."""

    signature: bytes
    signers: tuple[str, ...]
    culprits: tuple[str, ...] = ()
    """Slots whose share was wrong on the way."""
    outputs: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    """Signer -> what it gave out, in the parts that its log commits to."""


async def sign_schnorr(fleet: Fleet, key: Key, scheme: Scheme) -> Signature:
    """The signature over what the nodes themselves derive from the scheme's request.

    Raises NodeRefusal (what the nodes say), UnavailableError.
    """
    trouble = Trouble()
    needed = key.certificate.signing_quorum
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            slots = key.in_order(fleet.choose(key.certificate.slots, needed, excluded=trouble.excluded))
        except UnavailableError as error:
            raise trouble.exhausted(error) from None
        found = await asyncio.gather(
            *(fleet.nonces(slot, scheme.suite).take() for slot in slots), return_exceptions=True
        )
        if not await trouble.absorb(fleet, dict(zip(slots, found, strict=True))):
            continue
        nonces = [nonce for nonce in found if isinstance(nonce, NonceCommitment)]
        try:
            requests = scheme.requests(slots, nonces)
            replies = await asyncio.gather(
                *(
                    fleet.links[slot].call(scheme.verb, request, timeout_s=SIGN_TIMEOUT_S)
                    for slot, request in zip(slots, requests, strict=True)
                ),
                return_exceptions=True,
            )
            answers = dict(zip(slots, replies, strict=True))
            if any(isinstance(reply, NodeRefusal) and reply.code == "point.invalid" for reply in replies):
                # One signer's commitment makes all the others refuse alike: that is no answer to the caller.
                scheme.check(slots, nonces)
            if not await trouble.absorb(fleet, answers):
                continue
            signature = scheme.aggregate(slots, nonces, answers)
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
        return Signature(
            signature=signature,
            signers=tuple(slots),
            culprits=tuple(sorted(trouble.culprits)),
            outputs=scheme.outputs(slots, nonces, answers),
        )
    raise trouble.exhausted()
