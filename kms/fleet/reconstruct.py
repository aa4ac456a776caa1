"""One ECDSA signature of a `reconstruct` key: nodes seal their shares to an assembler, which signs once.

Steps (specs/reconstruct.md): 1 choose an assembler the certificate names, and holders that trust it and
each other; 2 make sure every sender has a session to it; 3 collect the sealed shares; 4 have it assemble;
5 check that the signature recovers the key.  The shares pass through here as ciphertext.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import coincurve

from enclave.wire import AssembleReply, AssembleRequest, ReleaseRequest, SealedShare
from kms.errors import NodeRefusal, UnavailableError
from kms.fleet.attempts import ATTEMPTS_MAX, Trouble
from kms.fleet.attestation import AttestationRelay
from kms.fleet.fleet import Fleet
from kms.keys import Key
from kms.observe import logger

RELEASE_TIMEOUT_S = 4.0
"""Longest wait for the sealed shares of one attempt; the same again for assembling."""

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order of secp256k1 (SEC 2 version 2.0, section 2.4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcdsaSignature:
    """A verified low-s signature and who made it."""

    r: int
    s: int
    y_parity: int
    signers: tuple[str, ...]
    assembler: str
    culprits: tuple[str, ...] = ()


async def sign_ecdsa(
    fleet: Fleet, relay: AttestationRelay, key: Key, *, token: str, body: bytes, digest: bytes
) -> EcdsaSignature:
    """The signature over `digest`, which the nodes derive themselves from `body`; raises NodeRefusal, UnavailableError.

    A refusal names the request at fault; a lost node, a wrong share or a lying assembler cost an attempt.
    """
    trouble = Trouble()
    doubted: set[str] = set()
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            assembler, slots = _choose(fleet, key, trouble, doubted)
        except UnavailableError as error:
            raise trouble.exhausted(error) from None
        senders = [slot for slot in slots if slot != assembler]
        await relay.ensure_channels(senders, assembler)
        released = await _release(fleet, slots, senders, assembler, token, body)
        if not await _usable(fleet, relay, trouble, released, assembler):
            continue
        shares = [share for share in released.values() if isinstance(share, SealedShare)]
        request = AssembleRequest(token=token, body=body, signers=slots, shares=shares)
        answers = await asyncio.gather(
            fleet.links[assembler].call("assemble", request, timeout_s=RELEASE_TIMEOUT_S), return_exceptions=True
        )
        answer = answers[0]
        if isinstance(answer, NodeRefusal):
            relay.forget_channels(senders, assembler)
            trouble.blame(fleet, [slot for slot in answer.culprits if slot in senders])
            if answer.code.startswith("channel.") and not doubted:
                # A share did not open; whose, nobody can prove.  Others send next, to the same assembler.
                doubted.update(senders)
                continue
        if not await trouble.absorb(fleet, {assembler: answer}):
            continue
        assert isinstance(answer, AssembleReply)
        found = _verified(answer, key.certificate.public_key, digest)
        if found is None:
            logger().error("bad-signature", key=key.key, culprits=[assembler], attempt=attempt)
            trouble.blame(fleet, [assembler])
            continue
        r, s, parity = found
        return EcdsaSignature(
            r=r,
            s=s,
            y_parity=parity,
            signers=tuple(slots),
            assembler=assembler,
            culprits=tuple(sorted(trouble.culprits)),
        )
    raise trouble.exhausted()


def _choose(fleet: Fleet, key: Key, trouble: Trouble, doubted: set[str]) -> tuple[str, list[str]]:
    """Step 1: the assembler takes part with its own share, so that one less has to travel.

    `doubted` holders are taken only where there are no others.
    """
    certificate = key.certificate
    excluded = trouble.excluded
    candidates = [slot for slot in certificate.assemblers if slot not in excluded and fleet.links[slot].usable]
    candidates.sort(key=lambda slot: (fleet.links[slot].suspect, fleet.links[slot].in_flight))
    last: UnavailableError | None = None
    for assembler in candidates:
        try:
            slots = fleet.choose(
                certificate.slots,
                certificate.signing_quorum,
                excluded=excluded,
                preferred=[assembler, *(slot for slot in certificate.slots if doubted and slot not in doubted)],
                trusting=[assembler],
            )
        except UnavailableError as error:
            last = error
        else:
            return assembler, key.in_order(slots)
    raise last or UnavailableError(
        "none of the key's assemblers can be reached",
        hint=f"this key is assembled at {', '.join(certificate.assemblers)} only",
    )


async def _release(
    fleet: Fleet, slots: list[str], senders: list[str], assembler: str, token: str, body: bytes
) -> dict[str, SealedShare | BaseException]:
    request = ReleaseRequest(token=token, body=body, signers=slots, assembler=assembler)
    replies: list[SealedShare | BaseException] = await asyncio.gather(
        *(fleet.links[slot].call("release", request, timeout_s=RELEASE_TIMEOUT_S) for slot in senders),
        return_exceptions=True,
    )
    return dict(zip(senders, replies, strict=True))


async def _usable(
    fleet: Fleet,
    relay: AttestationRelay,
    trouble: Trouble,
    released: Mapping[str, SealedShare | BaseException],
    assembler: str,
) -> bool:
    """Whether every share came; a missing session is opened anew and costs its sender nothing."""
    closed = [
        slot
        for slot, answer in released.items()
        if isinstance(answer, NodeRefusal) and answer.code.startswith("channel.")
    ]
    relay.forget_channels(closed, assembler)
    rest = {slot: answer for slot, answer in released.items() if slot not in closed}
    return await trouble.absorb(fleet, rest) and not closed


def _verified(answer: AssembleReply, public_key: bytes, digest: bytes) -> tuple[int, int, int] | None:
    """Step 5: (r, s, parity), low-s, if the signature recovers the key."""
    if len(answer.signature) != 64 or answer.recovery_id not in (0, 1):
        return None
    try:
        recovered = coincurve.PublicKey.from_signature_and_message(
            answer.signature + bytes([answer.recovery_id]), digest, hasher=None
        )
    except Exception:  # the wrapper raises bare Exception for a signature of no point
        return None
    r, s = int.from_bytes(answer.signature[:32], "big"), int.from_bytes(answer.signature[32:], "big")
    if recovered.format() != public_key or s > ORDER // 2:
        return None
    return r, s, answer.recovery_id
