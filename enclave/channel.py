"""Sessions between two nodes over an untrusted relay: how shares and rows of dealt shares travel.

Rules kept (specs/channels.md): the session key is sealed to the receiver's attested KEM key and signed by
the sender's attested identity key; a session has one direction, one pair of boots and an end; every
message names what it is for in its associated data and is accepted once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag

from enclave.aead import ArenaAead
from enclave.errors import CallerError, PeerError, RefusedError
from enclave.identity import BootIdentity, is_same_boot, is_signed
from enclave.secret import Secret
from enclave.threshold.ceremony_kem import SEALED_BYTES as SHARE_SEALED_BYTES
from enclave.threshold.ceremony_kem import seal
from enclave.wire.attestation import Identity
from enclave.wire.channel import ChannelOpening, channel_opening_bytes
from enclave.wire.message import tagged
from enclave.wire.reconstruct import SealedShare

SESSION_S_MAX = 3600
"""Seconds a session lives: as long as an assembler's evidence may be old."""

MESSAGES_MAX = 1 << 32
"""Messages under one AES-GCM key; far below the 2^64 blocks that SP 800-38D allows with counter nonces."""

INBOUND_PER_SENDER_MAX = 32
"""Sessions kept per sender: one per gateway connection; the oldest goes first."""

WINDOW = 4096
"""How far behind the newest counter a message may arrive: relays reorder, a tick's frame holds at most this many."""

ROW_BYTES_MAX = 256
"""Largest row of a protocol between nodes in bytes; threshold ECDSA deals 160."""

_SESSION_BYTES = 16
_COUNTER_BYTES = 8
_ROW_HEAD_BYTES = _SESSION_BYTES + _COUNTER_BYTES
_TAG_BYTES = 16
_PROTOCOL = b"reconstruct"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareContext:
    """What a sealed share is for: part of its associated data, known to both ends without the relay."""

    key: str
    version: int
    epoch: int
    request_id: bytes


@dataclass(slots=True, kw_only=True)
class _Outbound:
    session: bytes
    receiver: Identity
    aead: ArenaAead
    expires_at: int
    counter: int = 0


@dataclass(slots=True, kw_only=True)
class _Inbound:
    sender: Identity
    aead: ArenaAead
    expires_at: int
    newest: int = -1
    seen: int = 0
    """Bit i: counter `newest - i` was accepted."""


class Channels:
    """All sessions of one node; `connection` numbers the gateway connections that asked for outbound ones."""

    def __init__(self, identity: BootIdentity) -> None:
        self._identity = identity
        self._outbound: dict[tuple[int, str], _Outbound] = {}
        self._inbound: dict[bytes, _Inbound] = {}

    def open(self, connection: int, receiver: Identity, now: int) -> ChannelOpening:
        """A fresh session towards `receiver`, replacing this connection's earlier one.

        `receiver` comes from the verdict table.  Raises CallerError if its KEM key is not usable.
        """
        own = self._identity.public
        session = os.urandom(_SESSION_BYTES)
        with Secret.random() as key:
            sealed = seal(receiver.kem_key, key, _info(own, receiver, session))
            aead = ArenaAead(key)
        self._outbound[connection, receiver.slot] = _Outbound(
            session=session, receiver=receiver, aead=aead, expires_at=now + SESSION_S_MAX
        )
        unsigned = ChannelOpening(
            sender=own.slot,
            sender_boot=own.boot_counter,
            receiver=receiver.slot,
            receiver_boot=receiver.boot_counter,
            session=session,
            sealed=sealed,
            signature=b"",
        )
        return ChannelOpening(
            sender=unsigned.sender,
            sender_boot=unsigned.sender_boot,
            receiver=unsigned.receiver,
            receiver_boot=unsigned.receiver_boot,
            session=session,
            sealed=sealed,
            signature=self._identity.sign(channel_opening_bytes(unsigned)),
        )

    def accept(self, opening: ChannelOpening, sender: Identity, now: int) -> None:
        """Take in a session of `sender` (from the verdict table).

        Raises PeerError (`channel.misdirected`, `channel.boot`, `channel.signature`, `channel.replayed`) or
        CallerError (`share.unreadable`).
        """
        own = self._identity.public
        if (opening.receiver, opening.receiver_boot) != (own.slot, own.boot_counter):
            raise PeerError("opening is for another node or boot", code="channel.misdirected")
        if opening.sender_boot != sender.boot_counter:
            raise PeerError("opening is of another boot of its sender than the one attested", code="channel.boot")
        if not is_signed(sender.identity_key, opening.signature, channel_opening_bytes(opening)):
            # No culprit: whoever relays can spoil a signature.
            raise PeerError("opening is not signed by its sender's attested key", code="channel.signature")
        if opening.session in self._inbound:
            raise PeerError("session is known already", code="channel.replayed")
        if len(opening.session) != _SESSION_BYTES or len(opening.sealed) != SHARE_SEALED_BYTES:
            raise PeerError("opening does not have its stated sizes", code="channel.malformed")
        with self._identity.open(opening.sealed, _info(sender, own, opening.session)) as key:
            aead = ArenaAead(key)
        self._make_room(sender.slot, now)
        self._inbound[opening.session] = _Inbound(sender=sender, aead=aead, expires_at=now + SESSION_S_MAX)

    def seal(self, connection: int, receiver: Identity, share: Secret, context: ShareContext, now: int) -> SealedShare:
        """`share` sealed from the arena for one request.

        Raises RefusedError (`channel.missing`) if this connection has no live session to that boot of the receiver.
        """
        own = self._identity.public
        session, counter = self._next(connection, receiver, now)
        sealed = bytearray(share.size + 16)
        session.aead.encrypt_into(
            _nonce(counter), share.view, _associated(context, own, receiver, session.session, counter), sealed
        )
        return SealedShare(slot=own.slot, session=session.session, counter=counter, ciphertext=bytes(sealed))

    def unseal(self, sealed: SealedShare, sender: Identity, context: ShareContext, now: int) -> Secret:
        """The share of `sender` (from the verdict table), opened into the arena, once.

        Raises RefusedError (`channel.unknown`) or PeerError (`channel.replayed`, `channel.unreadable`).
        """
        own = self._identity.public
        session = self._accepted(sealed.session, sender, sealed.counter, now)
        if len(sealed.ciphertext) != 32 + 16:
            raise PeerError("sealed share does not have its stated size", code="channel.unreadable")
        share = Secret.zero(32)
        try:
            session.aead.decrypt_into(
                _nonce(sealed.counter),
                sealed.ciphertext,
                _associated(context, sender, own, sealed.session, sealed.counter),
                share.view,
            )
        except InvalidTag:
            share.wipe()
            raise PeerError("sealed share does not open for this request", code="channel.unreadable") from None
        _mark(session, sealed.counter)
        return share

    def check_open(self, connection: int, receiver: Identity, now: int) -> None:
        """Raises RefusedError (`channel.missing`) if `seal_row` to this boot of the receiver would."""
        self._live(connection, receiver, now)

    def seal_row(self, connection: int, receiver: Identity, row: Secret, associated: bytes, now: int) -> bytes:
        """A row of threshold ECDSA sealed from the arena: session, counter (8 bytes), ciphertext and tag.

        Raises RefusedError (`channel.missing`).
        """
        session, counter = self._next(connection, receiver, now)
        bound = _row_associated(associated, self._identity.public, receiver, session.session, counter)
        sealed = bytearray(row.size + _TAG_BYTES)
        session.aead.encrypt_into(_nonce(counter), row.view, bound, sealed)
        return session.session + counter.to_bytes(_COUNTER_BYTES, "big") + sealed

    def open_row(self, sender: Identity, sealed: bytes, associated: bytes, now: int) -> Secret:
        """A row opened into the arena, once.

        Raises RefusedError (`channel.unknown`), PeerError (`channel.replayed`), CallerError (`share.unreadable`).
        """
        size = len(sealed) - _ROW_HEAD_BYTES - _TAG_BYTES
        if not 0 < size <= ROW_BYTES_MAX:
            raise CallerError("sealed row does not have its stated size", code="share.unreadable")
        name, ciphertext = sealed[:_SESSION_BYTES], sealed[_ROW_HEAD_BYTES:]
        counter = int.from_bytes(sealed[_SESSION_BYTES:_ROW_HEAD_BYTES], "big")
        session = self._accepted(name, sender, counter, now)
        bound = _row_associated(associated, sender, self._identity.public, name, counter)
        row = Secret.zero(size)
        try:
            session.aead.decrypt_into(_nonce(counter), ciphertext, bound, row.view)
        except InvalidTag:
            row.wipe()
            raise CallerError("sealed row does not open", code="share.unreadable") from None
        _mark(session, counter)
        return row

    def _live(self, connection: int, receiver: Identity, now: int) -> _Outbound:
        session = self._outbound.get((connection, receiver.slot))
        if session is None or not is_same_boot(session.receiver, receiver) or now > session.expires_at:
            raise RefusedError(
                f"no live session with this boot of {receiver.slot}",
                code="channel.missing",
                hint="open a channel and deliver the opening, then ask again",
            )
        return session

    def _next(self, connection: int, receiver: Identity, now: int) -> tuple[_Outbound, int]:
        """The session and the counter of its next message, used up by this call."""
        session = self._live(connection, receiver, now)
        counter = session.counter
        if counter >= MESSAGES_MAX:
            raise RefusedError("session is used up", code="channel.missing", hint="open a new channel")
        session.counter += 1
        return session, counter

    def _accepted(self, name: bytes, sender: Identity, counter: int, now: int) -> _Inbound:
        """The session a message says it belongs to, if that message was not accepted before."""
        session = self._inbound.get(name)
        if session is None or not is_same_boot(session.sender, sender) or now > session.expires_at:
            raise RefusedError(
                f"no live session with this boot of {sender.slot}",
                code="channel.unknown",
                hint="deliver the channel opening first",
            )
        _check_fresh(session, counter)
        return session

    def disconnect(self, connection: int) -> None:
        """Forget the outbound sessions a gateway connection asked for."""
        for name in [name for name in self._outbound if name[0] == connection]:
            del self._outbound[name]

    def _make_room(self, sender: str, now: int) -> None:
        for name in [name for name, session in self._inbound.items() if session.expires_at < now]:
            del self._inbound[name]
        theirs = [name for name, session in self._inbound.items() if session.sender.slot == sender]
        for name in theirs[: len(theirs) - INBOUND_PER_SENDER_MAX + 1]:
            del self._inbound[name]


def _check_fresh(session: _Inbound, counter: int) -> None:
    if not 0 <= counter < MESSAGES_MAX:
        raise CallerError("counter outside the session", code="channel.malformed")
    age = session.newest - counter
    if age >= WINDOW or (age >= 0 and session.seen >> age & 1):
        raise PeerError("sealed share was accepted before", code="channel.replayed")


def _mark(session: _Inbound, counter: int) -> None:
    if counter > session.newest:
        session.seen = (session.seen << min(counter - session.newest, WINDOW) | 1) & ((1 << WINDOW) - 1)
        session.newest = counter
    else:
        session.seen |= 1 << (session.newest - counter)


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


def _info(sender: Identity, receiver: Identity, session: bytes) -> bytes:
    return tagged(
        "channel-key",
        sender.cluster,
        sender.slot.encode(),
        sender.boot_counter.to_bytes(8, "big"),
        sender.identity_key,
        receiver.slot.encode(),
        receiver.boot_counter.to_bytes(8, "big"),
        receiver.identity_key,
        session,
    )


def _row_associated(associated: bytes, sender: Identity, receiver: Identity, session: bytes, counter: int) -> bytes:
    """Another tag than a share's, so that neither opens as the other."""
    return tagged(
        "sealed-row",
        associated,
        sender.slot.encode(),
        receiver.slot.encode(),
        sender.boot_counter.to_bytes(8, "big"),
        receiver.boot_counter.to_bytes(8, "big"),
        session,
        counter.to_bytes(8, "big"),
    )


def _associated(context: ShareContext, sender: Identity, receiver: Identity, session: bytes, counter: int) -> bytes:
    return tagged(
        "sealed-share",
        _PROTOCOL,
        context.key.encode(),
        context.version.to_bytes(4, "big"),
        context.epoch.to_bytes(4, "big"),
        context.request_id,
        sender.slot.encode(),
        receiver.slot.encode(),
        sender.boot_counter.to_bytes(8, "big"),
        receiver.boot_counter.to_bytes(8, "big"),
        session,
        counter.to_bytes(8, "big"),
    )
