"""One ECDSA signature of a `reconstruct` key: nodes seal their shares to an assembler, which signs once.

Steps (specs/reconstruct.md): 1 choose an assembler the certificate names, and holders that trust it and
each other; 2 make sure every sender has a session to it; 3 collect the sealed shares; 4 have it assemble;
5 check that the signature recovers the key.  The shares pass through here as ciphertext.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from enclave.key_specs import P256
from enclave.wire.reconstruct import AssembleReply, AssembleRequest, ReleaseRequest, SealedShare
from kms.errors import KmsError, NodeRefusal, UnavailableError
from kms.fleet.attempts import ATTEMPTS_MAX, Trouble
from kms.fleet.attestation import AttestationRelay
from kms.fleet.ecdsa_signature import EcdsaSignature, verified, verified_p256
from kms.fleet.fleet import Fleet
from kms.keys import Key
from kms.observe import logger

RELEASE_TIMEOUT_S = 4.0
"""Longest wait for the sealed shares of one attempt; the same again for assembling."""


async def sign_ecdsa(
    fleet: Fleet,
    relay: AttestationRelay,
    key: Key,
    *,
    token: str,
    body: bytes,
    digest: bytes,
    item: int | None = None,
) -> EcdsaSignature:
    """The signature over `digest`, which the nodes derive themselves from `body`; raises NodeRefusal, UnavailableError.

    A refusal names the request at fault; a lost node, a wrong share or a lying assembler cost an attempt.
    """
    run = _Run(fleet, relay, key, token, body, item)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            team = run.team()
        except UnavailableError as error:
            raise run.trouble.exhausted(error) from None
        answer = await run.attempt(team)
        if answer is None:
            continue
        check = verified_p256 if key.certificate.spec == P256 else verified
        found = check(answer.signature, answer.recovery_id, key.certificate.public_key, digest)
        if found is None:
            logger().error("bad-signature", key=key.key, culprits=[team.assembler], attempt=attempt)
            run.trouble.blame(fleet, [team.assembler])
            continue
        r, s, parity = found
        return EcdsaSignature(
            r=r,
            s=s,
            y_parity=parity,
            signers=tuple(team.slots),
            assembler=team.assembler,
            culprits=tuple(sorted(run.trouble.culprits)),
        )
    raise run.trouble.exhausted()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Team:
    """Who takes part in one attempt, by rising share index."""

    assembler: str
    slots: list[str]

    @property
    def senders(self) -> list[str]:
        """Members whose share has to travel."""
        return [slot for slot in self.slots if slot != self.assembler]


class _Run:
    """The attempts of one request."""

    def __init__(
        self, fleet: Fleet, relay: AttestationRelay, key: Key, token: str, body: bytes, item: int | None
    ) -> None:
        self.trouble = Trouble()
        self._fleet = fleet
        self._relay = relay
        self._key = key
        self._token = token
        self._body = body
        self._item = item
        self._again: _Team | None = None
        self._doubted: frozenset[str] = frozenset()

    def team(self) -> _Team:
        """Step 1: the same team if only a session was missing, else a new one; raises UnavailableError.

        The assembler takes part with its own share, so that one less has to travel.  Senders of whom one
        spoilt a share are taken only where there are no others.
        """
        if self._again is not None:
            team, self._again = self._again, None
            return team
        fleet, certificate, excluded = self._fleet, self._key.certificate, self.trouble.excluded
        candidates = [slot for slot in certificate.assemblers if slot not in excluded and fleet.links[slot].usable]
        candidates.sort(key=lambda slot: (fleet.links[slot].suspect, fleet.links[slot].in_flight))
        fresh = [slot for slot in certificate.slots if slot not in self._doubted] if self._doubted else []
        last: UnavailableError | None = None
        for assembler in candidates:
            try:
                slots = fleet.choose(
                    certificate.slots,
                    certificate.signing_quorum,
                    excluded=excluded,
                    preferred=[assembler, *fresh],
                    trusting=[assembler],
                )
            except UnavailableError as error:
                last = error
            else:
                return _Team(assembler=assembler, slots=self._key.in_order(slots))
        raise last or UnavailableError(
            "none of the key's assemblers can be reached",
            hint=f"this key is assembled at {', '.join(certificate.assemblers)} only",
        )

    async def attempt(self, team: _Team) -> AssembleReply | None:
        """Steps 2 to 4; None if another attempt is due.  Raises NodeRefusal once the request is at fault."""
        await self._relay.ensure_channels(team.senders, team.assembler)
        shares = await self._release(team)
        if shares is None:
            return None
        request = AssembleRequest(
            token=self._token,
            body=self._body,
            signers=team.slots,
            shares=shares,
            epoch=self._key.certificate.epoch,
            item=self._item,
        )
        answer = await _outcome(
            self._fleet.links[team.assembler].call("assemble", request, timeout_s=RELEASE_TIMEOUT_S)
        )
        if isinstance(answer, NodeRefusal) and self._is_about_shares(team, answer):
            return None
        if not await self.trouble.absorb(self._fleet, {team.assembler: answer}):
            return None
        return answer if isinstance(answer, AssembleReply) else None

    async def _release(self, team: _Team) -> list[SealedShare] | None:
        """Step 3: every sender's sealed share, or None."""
        request = ReleaseRequest(
            token=self._token,
            body=self._body,
            signers=team.slots,
            assembler=team.assembler,
            epoch=self._key.certificate.epoch,
            item=self._item,
        )
        replies = await asyncio.gather(
            *(self._fleet.links[slot].call("release", request, timeout_s=RELEASE_TIMEOUT_S) for slot in team.senders),
            return_exceptions=True,
        )
        answers = dict(zip(team.senders, replies, strict=True))
        closed = [slot for slot, answer in answers.items() if getattr(answer, "code", "") == "channel.missing"]
        others = {slot: answer for slot, answer in answers.items() if slot not in closed}
        if not await self.trouble.absorb(self._fleet, others):
            return None
        if closed:
            self._relay.forget_channels(closed, team.assembler)
            self._again = team
            return None
        return [answer for answer in replies if isinstance(answer, SealedShare)]

    def _is_about_shares(self, team: _Team, refusal: NodeRefusal) -> bool:
        """Whether the assembler refused because of what others sent, and what follows from it."""
        self.trouble.blame(self._fleet, [slot for slot in refusal.culprits if slot in team.senders])
        self._relay.forget_channels(team.senders, team.assembler)
        if refusal.code == "channel.unknown":
            self._again = team
            return True
        if refusal.code.startswith("channel.") and not self._doubted:
            # A share did not open; whose, nobody can prove.  Others send next, to the same assembler.
            self._doubted = frozenset(team.senders)
            return True
        return bool(refusal.culprits)


async def _outcome(call: Awaitable[object]) -> object:
    """A reply, or the error instead of it."""
    try:
        return await call
    except KmsError as error:
        return error
