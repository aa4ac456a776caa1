"""The attempts of threshold ECDSA one node takes part in, from first round to release (specs/threshold-ecdsa.md).

Rules kept: a session id covers key, epoch, signers with their boots and identity keys, digest, request and attempt,
and is used once in this boot; an attempt lives in memory only, belongs to the connection it came over, and is wiped
at its release, at any failure, at an abort and when its time is over; nothing received in private is ever shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from enclave.certificate import KeyCertificate
from enclave.channel import Channels
from enclave.child_keys import ChildKey, child_of
from enclave.errors import CallerError, PeerError, RefusedError
from enclave.identity import BootIdentity, is_signed
from enclave.keys import HeldKey
from enclave.secret import Secret
from enclave.threshold.ecdsa.session import Session
from enclave.threshold.ecdsa.signer import Signer
from enclave.wire.attestation import Identity
from enclave.wire.ecdsa import EcdsaMessage, ecdsa_message_bytes
from enclave.wire.message import tagged

LIVE_MAX = 512
"""Attempts at once: each holds ten scalars, 320 bytes of locked memory."""

LIFETIME_S = 10
"""Seconds from the first round to the release: rounds take milliseconds, a gateway gives up sooner."""

RELEASE_ROUND = 4


class RowChannels:
    """Private channels of one attempt, over the sessions of one gateway connection."""

    __slots__ = ("_channels", "_connection", "_members", "now")

    def __init__(self, channels: Channels, connection: int, members: Mapping[int, Identity], now: int) -> None:
        self._channels = channels
        self._connection = connection
        self._members = members
        self.now = now
        """Time of the request being handled, Unix seconds."""

    def seal(self, receiver: int, secret: Secret, associated: bytes) -> bytes:
        """A row for the signer with index `receiver`; raises RefusedError (`channel.missing`)."""
        return self._channels.seal_row(self._connection, self._members[receiver], secret, associated, self.now)

    def open(self, sender: int, sealed: bytes, associated: bytes) -> Secret:
        """A row of the signer with index `sender`; raises as Channels.open_row."""
        return self._channels.open_row(self._members[sender], sealed, associated, self.now)


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt at one node."""

    session: bytes
    connection: int
    key: HeldKey
    recheck: Callable[[], None]
    """Raises once the request that began it would no longer be allowed."""
    members: Mapping[int, Identity]
    channels: RowChannels
    signer: Signer
    expires_at: int
    token_expires_at: int
    sent: dict[int, EcdsaMessage] = field(default_factory=dict)


class EcdsaSessions:
    """All attempts of one node."""

    def __init__(self, identity: BootIdentity, channels: Channels) -> None:
        self._identity = identity
        self._channels = channels
        self._live: dict[bytes, Attempt] = {}
        self._used: dict[int, set[bytes]] = {}
        """Session ids by the second their token expires, after which nothing can start them again."""

    def open(
        self,
        connection: int,
        *,
        key: HeldKey,
        recheck: Callable[[], None],
        child: ChildKey | None = None,
        members: Mapping[int, Identity],
        digest: bytes,
        request_id: bytes,
        attempt: int,
        token_expires_at: int,
        now: int,
    ) -> Attempt:
        """An attempt ready to begin; nothing secret exists yet.  `members` are attested: share index -> identity.

        `child` is the derived key that signs; the key itself unless given.

        Raises RefusedError (`ecdsa.session` for an id used before, `ecdsa.busy`, `channel.missing`), CallerError
        (`signers.count`, `digest.size`).
        """
        self.expire(now)
        certificate = key.certificate
        child = child or child_of(certificate, ())
        session = session_id(
            child.facts, members=members, digest=digest, request_id=request_id, attempt=attempt, own=self._identity
        )
        terms = Session(
            session=session,
            slots={index: member.slot for index, member in members.items()},
            threshold=certificate.shares_needed,
            public_key=child.facts.public_key,
            digest=digest,
            tweak=child.tweak,
        )
        if session in self._used.get(token_expires_at, ()):
            raise RefusedError("this attempt has begun before", code="ecdsa.session", hint="use a fresh attempt number")
        if len(self._live) >= LIVE_MAX:
            raise RefusedError(f"{LIVE_MAX} attempts are running", code="ecdsa.busy", hint="retry shortly")
        for index, member in members.items():
            if index != key.index:
                self._channels.check_open(connection, member, now)
        channels = RowChannels(self._channels, connection, members, now)
        return Attempt(
            session=session,
            connection=connection,
            key=key,
            recheck=recheck,
            members=members,
            channels=channels,
            signer=Signer(terms, index=key.index, share=key.share, channels=channels),
            expires_at=now + LIFETIME_S,
            token_expires_at=token_expires_at,
        )

    def begin(self, attempt: Attempt) -> EcdsaMessage:
        """Round 1 of an attempt made by `open`; its id is used up whatever happens."""
        self._used.setdefault(attempt.token_expires_at, set()).add(attempt.session)
        self._live[attempt.session] = attempt
        try:
            return self._say(attempt, 1, attempt.signer.round1())
        except BaseException:
            self._end(attempt)
            raise

    def find(self, connection: int, session: bytes) -> Attempt:
        """A running attempt of this connection; raises CallerError (`ecdsa.unknown`)."""
        attempt = self._live.get(session)
        if attempt is None or attempt.connection != connection:
            raise CallerError("no running attempt of that session", code="ecdsa.unknown", hint="begin a fresh attempt")
        return attempt

    def advance(self, attempt: Attempt, number: int, messages: list[EcdsaMessage], now: int) -> EcdsaMessage:
        """Rounds 2 to 4 from everyone's messages of the round before; any failure ends the attempt for good.

        Raises PeerError (with culprits where a signed message proves them), AbortError, CallerError, RefusedError.
        """
        try:
            work = _round_of(attempt.signer, number)
            payloads = self._payloads(attempt, messages, number - 1)
            attempt.channels.now = now
            message = self._say(attempt, number, work(payloads))
        except BaseException:
            self._end(attempt)
            raise
        if number == RELEASE_ROUND:
            self._end(attempt)
        return message

    def abort(self, connection: int, session: bytes) -> None:
        """Wipe an attempt of this connection, if it is still running."""
        attempt = self._live.get(session)
        if attempt is not None and attempt.connection == connection:
            self._end(attempt)

    def disconnect(self, connection: int) -> None:
        """Wipe what came over a connection that is gone."""
        for attempt in [attempt for attempt in self._live.values() if attempt.connection == connection]:
            self._end(attempt)

    def expire(self, now: int) -> None:
        """Wipe attempts whose time is over, and forget ids whose tokens have expired."""
        while self._live:
            oldest = next(iter(self._live.values()))  # attempts live equally long: insertion order is expiry order
            if oldest.expires_at >= now:
                break
            self._end(oldest)
        for second in [second for second in self._used if second < now]:
            del self._used[second]

    def wipe(self) -> None:
        """End every attempt: the node is stopping."""
        for attempt in list(self._live.values()):
            self._end(attempt)

    def __len__(self) -> int:
        return len(self._live)

    def _end(self, attempt: Attempt) -> None:
        attempt.signer.wipe()
        self._live.pop(attempt.session, None)

    def _payloads(self, attempt: Attempt, messages: list[EcdsaMessage], number: int) -> dict[int, bytes]:
        """Payloads by share index; raises PeerError (`ecdsa.messages`) unless there is exactly one true one of each."""
        members = {member.slot: (index, member) for index, member in attempt.members.items()}
        if sorted(message.slot for message in messages) != sorted(members):
            raise PeerError("expected one message of each signer", code="ecdsa.messages")
        payloads = {}
        for message in messages:
            index, member = members[message.slot]
            if message == attempt.sent.get(number):
                payloads[index] = message.payload
                continue
            facts = (message.session, message.round, message.boot_counter)
            if facts != (attempt.session, number, member.boot_counter):
                raise PeerError("message of another session, round or boot", code="ecdsa.messages")
            if not is_signed(member.identity_key, message.signature, ecdsa_message_bytes(message)):
                # No culprit: whoever relays can spoil a signature.
                raise PeerError("message is not signed by its signer's attested key", code="ecdsa.messages")
            payloads[index] = message.payload
        return payloads

    def _say(self, attempt: Attempt, number: int, payload: bytes) -> EcdsaMessage:
        own = self._identity.public
        unsigned = EcdsaMessage(
            session=attempt.session,
            round=number,
            slot=own.slot,
            boot_counter=own.boot_counter,
            payload=payload,
            signature=b"",
        )
        signature = self._identity.sign(ecdsa_message_bytes(unsigned))
        message = msgspec.structs.replace(unsigned, signature=signature)
        attempt.sent[number] = message
        return message


def _round_of(signer: Signer, number: int) -> Callable[[Mapping[int, bytes]], bytes]:
    rounds = {2: signer.round2, 3: signer.round3, RELEASE_ROUND: signer.round4}
    if number not in rounds:
        raise CallerError("expected round 2, 3 or 4", code="ceremony.order")
    return rounds[number]


def session_id(
    certificate: KeyCertificate,
    *,
    members: Mapping[int, Identity],
    digest: bytes,
    request_id: bytes,
    attempt: int,
    own: BootIdentity,
) -> bytes:
    """32 bytes that differ whenever anything differs that the signers of one attempt must agree on."""
    signers = (
        part
        for index, member in sorted(members.items())
        for part in (
            index.to_bytes(4, "big"),
            member.slot.encode(),
            member.boot_counter.to_bytes(8, "big"),
            member.identity_key,
        )
    )
    return hashlib.sha256(
        tagged(
            "ecdsa-session",
            certificate.cluster,
            own.public.roster_digest,
            certificate.key.encode(),
            certificate.version.to_bytes(4, "big"),
            certificate.epoch.to_bytes(4, "big"),
            certificate.public_key,
            digest,
            request_id,
            attempt.to_bytes(4, "big"),
            *signers,
        )
    ).digest()
