"""Key generation as one participant runs it: an operator's order in, a sealed share and a signed certificate out.

Steps (specs/node.md section 5; the arithmetic is enclave.threshold.dkg):
1. the order: an administrator's token over the exact body, the key id that follows from it, a fresh
   session, every participant trusted now; their boots and identity keys go into the context of all below;
2. each round: exactly one message per participant, signed under the identity attested in step 1;
3. prepare: the pending share is sealed and on disk, then this node signs the hash of certificate and transcript;
4. commit: everyone's signature over the same hash activates the key; anything else leaves it pending.
A failure before step 3 ends the attempt; nothing after it deletes a share.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from enclave.certificate import GROUP_KEY_SPECS, KeyCertificate, NodeShare
from enclave.errors import CallerError, PeerError, RefusedError
from enclave.group import GROUPS
from enclave.identity import BootIdentity, is_signed
from enclave.key_order import KeyOrder
from enclave.keys import KeyTable, Prepared
from enclave.threshold.dkg import KeyShare, Participant
from enclave.threshold.hpke import public_key_x25519
from enclave.tokens import Token
from enclave.wire.attestation import Identity
from enclave.wire.ceremonies import CeremonyMessage, ceremony_message_bytes
from enclave.wire.message import decode_as, encode, tagged

LIVE_MAX = 16
"""Attempts at once: each holds a few kilobytes of locked memory and costs milliseconds per round."""

LIFETIME_S = 600
"""Seconds from the order to the prepare."""

CLOCK_SPREAD_S_MAX = 10
"""Seconds by which participants' clocks may differ: twice the skew that tokens tolerate."""

PREPARE_ROUND = 3

_TIME_BYTES = 8


@dataclass(slots=True, kw_only=True)
class _Attempt:
    session: bytes
    key: str
    order: KeyOrder
    members: Mapping[str, Identity]
    context: bytes
    participant: Participant
    expires_at: int
    times: list[int] = field(default_factory=list)
    sent: dict[int, CeremonyMessage] = field(default_factory=dict)


class Ceremonies:
    """The attempts of one node; the caller has checked the order's token and every member's verdict."""

    def __init__(self, identity: BootIdentity, keys: KeyTable) -> None:
        self._identity = identity
        self._keys = keys
        self._live: dict[bytes, _Attempt] = {}
        self._sessions: set[bytes] = set()

    def start(
        self,
        *,
        session: bytes,
        key: str,
        order: KeyOrder,
        token: Token,
        body: bytes,
        members: Mapping[str, Identity],
        now: int,
    ) -> CeremonyMessage:
        """Round 1.  `members` are the attested identities of the order's nodes, in its order.

        Raises CallerError (`ceremony.session`, `ceremony.key`), RefusedError (`ceremony.session`, `ceremony.busy`,
        `key.exists`).
        """
        self._expire(now)
        if not 16 <= len(session) <= 64:
            raise CallerError("expected a session id of 16 to 64 bytes", code="ceremony.session")
        if session in self._sessions or self._keys.pending(session) or self._keys.by_session(session):
            raise RefusedError("session id was used before", code="ceremony.session", hint="choose a fresh one")
        if key != key_id_of(token.request_id):
            raise CallerError("expected the key id that follows from the order", code="ceremony.key")
        self._check_unused(key)
        if len(self._live) >= LIVE_MAX:
            raise RefusedError(f"{LIVE_MAX} ceremonies are running", code="ceremony.busy", hint="retry shortly")
        context = _context(self._identity.public, key, token.request_id, body, members)
        own = self._identity.public.slot
        attempt = _Attempt(
            session=session,
            key=key,
            order=order,
            members=members,
            context=context,
            participant=Participant(
                GROUPS[order.kind.group],
                session=session,
                index=order.nodes.index(own) + 1,
                slots=order.participants,
                threshold=order.shares_needed,
                context=context,
            ),
            expires_at=now + LIFETIME_S,
        )
        self._sessions.add(session)
        self._live[session] = attempt
        return self._say(attempt, 1, now.to_bytes(_TIME_BYTES, "big") + attempt.participant.round1())

    def advance(self, session: bytes, number: int, messages: list[CeremonyMessage], now: int) -> CeremonyMessage:
        """Round 2 or 3, from everyone's messages of the round before; any failure ends the attempt.

        Raises PeerError (with culprits where proven), AbortError, CallerError, RefusedError.
        """
        self._expire(now)
        prepared = self._keys.pending(session)
        if prepared is not None and number == PREPARE_ROUND:
            return _repeat(prepared, messages)
        attempt = self._live.get(session)
        if attempt is None:
            raise CallerError("no running ceremony of that session", code="ceremony.unknown")
        if number not in (2, PREPARE_ROUND):
            raise CallerError("expected round 2 or 3", code="ceremony.order")
        try:
            if number == 2:
                return self._second(attempt, messages, now)
            return self._prepare(attempt, messages)
        except Exception:
            self.abort(session)
            raise

    def members(self, session: bytes) -> Mapping[str, Identity]:
        """The attested identities a running ceremony is bound to; empty if it is not running."""
        attempt = self._live.get(session)
        return attempt.members if attempt is not None else {}

    def commit(self, session: bytes, messages: list[CeremonyMessage]) -> bytes:
        """The certificate body, once everyone prepared the same; repeating a commit changes nothing.

        Raises PeerError (`ceremony.transcript` when participants prepared different things, `ceremony.messages`),
        CallerError (`ceremony.unknown`).
        """
        active = self._keys.by_session(session)
        if active is not None:
            return active.body
        prepared = self._keys.pending(session)
        if prepared is None:
            raise CallerError("no prepared ceremony of that session", code="ceremony.unknown")
        members = {slot: (boot, key) for slot, boot, key in prepared.participants}
        payloads = _read(messages, session, PREPARE_ROUND, members)
        if any(payload != prepared.statement for payload in payloads.values()):
            # Whoever said different things to different nodes cannot be named from one node's view.
            raise PeerError(
                "participants did not all see the same messages: the key never becomes active",
                code="ceremony.transcript",
            )
        return self._keys.activate(session).body

    def abort(self, session: bytes) -> None:
        """End an attempt that has not prepared and wipe what it held."""
        attempt = self._live.pop(session, None)
        if attempt is not None:
            attempt.participant.wipe()

    def wipe(self) -> None:
        """End every attempt: the node is stopping."""
        for session in list(self._live):
            self.abort(session)

    def _second(self, attempt: _Attempt, messages: list[CeremonyMessage], now: int) -> CeremonyMessage:
        payloads = self._payloads(attempt, messages, 1)
        attempt.times = [int.from_bytes(payload[:_TIME_BYTES], "big") for payload in payloads.values()]
        if any(abs(time - now) > CLOCK_SPREAD_S_MAX for time in attempt.times):
            raise RefusedError(
                f"participants' clocks differ by more than {CLOCK_SPREAD_S_MAX} s", code="clock-skew", hint="fix them"
            )
        firsts = {index: payload[_TIME_BYTES:] for index, payload in payloads.items()}
        return self._say(attempt, 2, attempt.participant.round2(firsts))

    def _prepare(self, attempt: _Attempt, messages: list[CeremonyMessage]) -> CeremonyMessage:
        self._check_unused(attempt.key)
        transcript, share = attempt.participant.round3(self._payloads(attempt, messages, 2))
        with share.secret as secret:
            body = self._certificate(attempt, transcript, share).body()
            statement = hashlib.sha256(tagged("ceremony-prepared", attempt.session, body)).digest()
            message = self._sign(attempt.session, PREPARE_ROUND, statement)
            prepared = Prepared(
                session=attempt.session,
                body=body,
                statement=statement,
                participants=[
                    (slot, member.boot_counter, member.identity_key) for slot, member in attempt.members.items()
                ],
                inputs=_digest(messages),
                message=encode(message),
            )
            self._keys.prepare(prepared, secret)
        del self._live[attempt.session]
        return message

    def _certificate(self, attempt: _Attempt, dkg_transcript: bytes, share: KeyShare) -> KeyCertificate:
        order = attempt.order
        times = (time.to_bytes(_TIME_BYTES, "big") for time in attempt.times)
        transcript = hashlib.sha256(tagged("ceremony-transcript", dkg_transcript, attempt.context, *times)).digest()
        public_key = share.public_key
        if order.spec in GROUP_KEY_SPECS:
            # X25519's form of it; a P-256 key's is not known before an assembler has derived it.
            public_key = public_key_x25519(share.public_key) if order.spec == "hpke-x25519" else b""
        return KeyCertificate(
            cluster=self._identity.public.cluster,
            key=attempt.key,
            name=order.name,
            version=1,
            spec=order.spec,
            usage=order.usage,
            custody=order.custody,
            shares_needed=order.shares_needed,
            nodes=tuple(
                NodeShare(slot=slot, index=index, public_share=share.public_shares[index])
                for index, slot in order.participants.items()
            ),
            assemblers=order.assemblers,
            public_key=public_key,
            chain_code=hashlib.sha256(tagged("chain-code", transcript, share.public_key)).digest(),
            policy=order.policy,
            epoch=1,
            transcript=transcript,
            activated_at=max(attempt.times),
            group_key=share.public_key if order.spec in GROUP_KEY_SPECS else None,
            exportable=order.exportable,
        )

    def _payloads(self, attempt: _Attempt, messages: list[CeremonyMessage], number: int) -> dict[int, bytes]:
        members = {slot: (member.boot_counter, member.identity_key) for slot, member in attempt.members.items()}
        payloads = _read(messages, attempt.session, number, members)
        own = self._identity.public.slot
        if number not in attempt.sent or payloads[own] != attempt.sent[number].payload:
            raise PeerError("own message was altered on the way", code="ceremony.messages")
        return {index: payloads[slot] for index, slot in attempt.order.participants.items()}

    def _say(self, attempt: _Attempt, number: int, payload: bytes) -> CeremonyMessage:
        message = self._sign(attempt.session, number, payload)
        attempt.sent[number] = message
        return message

    def _sign(self, session: bytes, number: int, payload: bytes) -> CeremonyMessage:
        own = self._identity.public
        unsigned = CeremonyMessage(
            session=session,
            round=number,
            slot=own.slot,
            boot_counter=own.boot_counter,
            payload=payload,
            signature=b"",
        )
        return CeremonyMessage(
            session=session,
            round=number,
            slot=own.slot,
            boot_counter=own.boot_counter,
            payload=payload,
            signature=self._identity.sign(ceremony_message_bytes(unsigned)),
        )

    def _check_unused(self, key: str) -> None:
        """One order makes one key: its id is taken from the moment this node prepared it."""
        if self._keys.knows(key):
            raise RefusedError("this order has made a key already", code="key.exists", hint="sign a fresh order")

    def _expire(self, now: int) -> None:
        for session in [session for session, attempt in self._live.items() if attempt.expires_at < now]:
            self.abort(session)


def key_id_of(request_id: bytes) -> str:
    """The id of the key that one order makes, so that whoever relays cannot make two keys of it."""
    digest = hashlib.sha256(tagged("key-id", request_id)).digest()[:16]
    return "key_" + base64.b32encode(digest).decode("ascii").rstrip("=").lower()


def _context(own: Identity, key: str, request_id: bytes, body: bytes, members: Mapping[str, Identity]) -> bytes:
    """What all participants must agree on beside the session: order, key id, roster and who is who."""
    parts = [own.cluster, own.roster_digest, key.encode(), request_id, hashlib.sha256(body).digest()]
    for slot, member in members.items():
        parts += [slot.encode(), member.boot_counter.to_bytes(8, "big"), member.identity_key]
    return hashlib.sha256(tagged("ceremony-context", *parts)).digest()


def _read(
    messages: list[CeremonyMessage], session: bytes, number: int, members: Mapping[str, tuple[int, bytes]]
) -> dict[str, bytes]:
    """Payload of each member; raises PeerError (`ceremony.messages`) unless there is exactly one true one of each."""
    if sorted(message.slot for message in messages) != sorted(members):
        raise PeerError("expected one message of each participant", code="ceremony.messages")
    payloads = {}
    for message in messages:
        boot, identity_key = members[message.slot]
        facts = (message.session, message.round, message.boot_counter)
        if facts != (session, number, boot):
            raise PeerError("message of another session, round or boot", code="ceremony.messages")
        if not is_signed(identity_key, message.signature, ceremony_message_bytes(message)):
            # No culprit: whoever relays can spoil a signature.
            raise PeerError("message is not signed by its participant's attested key", code="ceremony.messages")
        payloads[message.slot] = message.payload
    return payloads


def _repeat(prepared: Prepared, messages: list[CeremonyMessage]) -> CeremonyMessage:
    """The same answer to the same round-2 messages, also after a restart."""
    if _digest(messages) != prepared.inputs:
        raise RefusedError("session has prepared on other messages", code="ceremony.session")
    return decode_as(CeremonyMessage, prepared.message)


def _digest(messages: list[CeremonyMessage]) -> bytes:
    ordered = sorted(messages, key=lambda message: message.slot)
    return hashlib.sha256(encode(ordered)).digest()
