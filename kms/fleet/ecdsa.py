"""One ECDSA signature of a `threshold` key: 2T - 1 nodes, four rounds, nobody holds the key.

Steps (specs/threshold-ecdsa.md section 6): 1 choose exactly 2T - 1 nodes that trust each other; 2 make sure of the
sessions between them; 3 carry four rounds, each to all at once; 4 add the releases and check that the signature
recovers the key.  A failed round ends the attempt at every node; the protocol names nobody, so the next attempt,
under a fresh number, is made with nodes that took part in fewer failures.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from enclave.errors import EnclaveError
from enclave.threshold.ecdsa.finish import finish
from enclave.threshold.ecdsa.session import Session
from enclave.wire.ecdsa import EcdsaAbort, EcdsaMessage, EcdsaRound, EcdsaStart
from enclave.wire.message import Message
from kms.errors import NodeRefusal, UnavailableError
from kms.fleet.attempts import ATTEMPTS_MAX, Trouble
from kms.fleet.attestation import AttestationRelay
from kms.fleet.ecdsa_signature import EcdsaSignature, verified
from kms.fleet.fleet import Fleet
from kms.keys import Key
from kms.observe import logger

ATTEMPT_TIMEOUT_S = 5.0
"""Longest wait for all rounds of one attempt; nodes wipe theirs after ten."""

ABORT_TIMEOUT_S = 1.0
"""Nobody waits for the answer to an abort."""

ANONYMOUS = ("protocol.", "ceremony.", "ecdsa.", "share.", "channel.", "peer.", "digest.")
"""Prefixes of codes by which a node ends an attempt without saying, or without proving, whose fault it is."""


async def sign_threshold_ecdsa(
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

    A refusal names the request at fault; a lost node or a failed round costs an attempt, and there are three.
    """
    run = _Run(fleet, relay, key, token, body, item)
    for number in range(1, ATTEMPTS_MAX + 1):
        try:
            slots = run.choose()
        except UnavailableError as error:
            raise run.trouble.exhausted(error) from None
        releases = await run.attempt(slots, number)
        if releases is None:
            continue
        found = _finished(key, releases, digest)
        if found is None:
            run.failed(slots, {}, "no signature")
            continue
        r, s, parity = found
        run.succeeded(slots)
        culprits = tuple(sorted(run.trouble.culprits))
        return EcdsaSignature(r=r, s=s, y_parity=parity, signers=tuple(slots), culprits=culprits)
    raise run.trouble.exhausted()


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
        self._again: list[str] | None = None
        self._failures: list[frozenset[str]] = []

    def choose(self) -> list[str]:
        """Step 1: the same nodes if only a session was missing; else those that failed least.

        With one bad node of five and a quorum of three, three attempts always reach a good set.  Raises
        UnavailableError.
        """
        if self._again is not None:
            slots, self._again = self._again, None
            return slots
        certificate = self._key.certificate
        part = Counter(slot for failure in self._failures for slot in failure)
        most = max(part.values(), default=0)
        preferred = [slot for slot in certificate.slots if part[slot] < most]
        chosen = self._fleet.choose(
            certificate.slots, certificate.signing_quorum, excluded=self.trouble.excluded, preferred=preferred
        )
        return self._key.in_order(chosen)

    async def attempt(self, slots: list[str], number: int) -> list[EcdsaMessage] | None:
        """Steps 2 and 3: everyone's release; None if another attempt is due.

        Raises NodeRefusal once the request is at fault.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ATTEMPT_TIMEOUT_S
        await asyncio.gather(*(self._relay.ensure_channels(slots, receiver) for receiver in slots))
        request: Message = EcdsaStart(
            token=self._token,
            body=self._body,
            signers=slots,
            attempt=number,
            epoch=self._key.certificate.epoch,
            item=self._item,
        )
        session = b""
        for step in (1, 2, 3, 4):
            verb = "ecdsa-start" if step == 1 else "ecdsa-round"
            answers = await self._ask(slots, verb, request, timeout_s=max(0.1, deadline - loop.time()))
            session = next((item.session for item in answers.values() if isinstance(item, EcdsaMessage)), session)
            try:
                messages = await self._messages(slots, answers)
            except BaseException:
                self._abort(slots, session)
                raise
            if messages is None:
                self._abort(slots, session)
                return None
            request = EcdsaRound(session=session, round=step + 1, messages=messages)
        return messages

    def failed(self, slots: Sequence[str], refusals: Mapping[str, NodeRefusal], reason: str) -> None:
        """An attempt ended without a signature; whoever more signers name than can be corrupt is blamed."""
        named = Counter(culprit for refusal in refusals.values() for culprit in set(refusal.culprits) & set(slots))
        proven = [slot for slot, count in named.items() if count >= self._key.certificate.shares_needed]
        codes = {slot: refusal.code for slot, refusal in refusals.items()}
        logger().warning(
            "signing-aborted", key=self._key.key, slots=list(slots), codes=codes, reason_code=reason, culprits=proven
        )
        self.trouble.blame(self._fleet, proven)
        self._failures.append(frozenset(slots))

    def succeeded(self, slots: Sequence[str]) -> None:
        """Whoever took part in a failure and not in the success is avoided for a moment."""
        for slot in frozenset().union(*self._failures) - set(slots):
            self._fleet.links[slot].note_doubt()

    async def _ask(self, slots: list[str], verb: str, request: Message, *, timeout_s: float) -> dict[str, object]:
        replies: list[object] = await asyncio.gather(
            *(self._fleet.links[slot].call(verb, request, timeout_s=timeout_s) for slot in slots),
            return_exceptions=True,
        )
        return dict(zip(slots, replies, strict=True))

    async def _messages(self, slots: list[str], answers: dict[str, object]) -> list[EcdsaMessage] | None:
        """Everyone's message of a round, or None after noting what went wrong."""
        aborts = {
            slot: answer
            for slot, answer in answers.items()
            if isinstance(answer, NodeRefusal) and answer.code.startswith(ANONYMOUS)
        }
        clean = await self.trouble.absorb(
            self._fleet, {slot: answer for slot, answer in answers.items() if slot not in aborts}
        )
        unopened = [slot for slot, refusal in aborts.items() if refusal.code in ("channel.missing", "channel.unknown")]
        for slot in unopened:
            for other in slots:
                self._relay.forget_channels([slot], other)
                self._relay.forget_channels([other], slot)
        if clean and aborts and len(unopened) == len(aborts) and self._again is None:
            self._again = slots
        elif aborts:
            self.failed(slots, aborts, next(iter(aborts.values())).code)
        if not clean or aborts:
            return None
        messages = [answer for answer in answers.values() if isinstance(answer, EcdsaMessage)]
        if len({message.session for message in messages}) != 1:
            self.failed(slots, {}, "sessions differ")
            return None
        return messages

    def _abort(self, slots: list[str], session: bytes) -> None:
        """Have the nodes wipe what is left of an attempt, without waiting for it."""
        if not session:
            return
        for slot in slots:
            call = self._fleet.links[slot].call("ecdsa-abort", EcdsaAbort(session=session), timeout_s=ABORT_TIMEOUT_S)
            call.add_done_callback(_ignore)


def _finished(key: Key, messages: list[EcdsaMessage], digest: bytes) -> tuple[int, int, int] | None:
    """Step 4: (r, s, parity), low-s, if the releases make a signature that recovers the key."""
    certificate = key.certificate
    try:
        session = Session(
            session=messages[0].session,
            slots={key.index[message.slot]: message.slot for message in messages},
            threshold=certificate.shares_needed,
            public_key=certificate.public_key,
            digest=digest,
        )
        signature, recovery_id = finish(session, {key.index[item.slot]: item.payload for item in messages})
    except (EnclaveError, KeyError):
        return None
    return verified(signature, recovery_id, certificate.public_key, digest)


def _ignore(call: asyncio.Future[object]) -> None:
    """Fetch an outcome nobody needs, so that it is not reported as forgotten."""
    if not call.cancelled():
        call.exception()
