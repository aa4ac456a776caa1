"""What ceremonies about many keys have in common: one announcement, one wrapped key per pair, one message per round.

Rules kept (specs/ceremonies.md section 6): every message repeats the hash of all announcements, so that split views
are seen before a share is opened; a payload that does not have its form names its sender.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from enclave.ceremonies.facts import Facts
from enclave.errors import AbortError, CallerError, PeerError, WireError
from enclave.threshold import ceremony_kem
from enclave.threshold.dealing import Announcement
from enclave.threshold.post import Post
from enclave.wire.message import decode_as, encode, tagged

KEYS_MAX = 128
"""Most keys of one session: messages of 16 nodes stay below 3 MiB, and a prepare seals 200 KiB."""

PAYLOAD_BYTES_MAX = 1 << 20
"""Largest payload of a batch in bytes: 128 keys of 16 nodes take 130 KiB; wrapped secrets are the rest."""


class BatchMessage(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One participant's message of a round: hash of what was announced, pair keys by slot, one payload per key."""

    heard: bytes
    wraps: dict[str, bytes]
    items: list[bytes]
    extras: dict[str, bytes]
    """Public or sealed rows that travel with the keys."""


class Mailbox:
    """One participant's ceremony key, and what it heard from the others."""

    def __init__(self, facts: Facts, slot: str) -> None:
        self.facts = facts
        self.slot = slot
        self.post = Post()
        self.heard = b""
        self._keys: dict[str, bytes] = {}

    def announce(self) -> bytes:
        """Payload of round 1."""
        return encode(Announcement(self.post.public))

    def hear(self, payloads: Mapping[str, bytes], receivers: Iterable[str]) -> None:
        """Take everyone's announcements; raises PeerError naming a slot (`ceremony.malformed`), AbortError."""
        self.heard = heard_of(self.facts, payloads)
        self._keys = announced(payloads, receivers)
        if self.slot in self._keys and self._keys[self.slot] != self.post.public:
            raise AbortError("own announcement was altered on the way", code="ceremony.equivocation")

    def address(self, receivers: Iterable[str]) -> dict[str, bytes]:
        """Pair keys for all receivers, wrapped."""
        wraps = {}
        for slot in receivers:
            try:
                wraps[slot] = self.post.address(slot, self._keys[slot], self.info(self.slot, slot))
            except CallerError:
                raise PeerError("ceremony key is not usable", culprits=[slot], code="ceremony.malformed") from None
        return wraps

    def accept(self, messages: Mapping[str, BatchMessage]) -> None:
        """Take the pair keys that others wrapped to this participant; raises PeerError (`share.unreadable`)."""
        for sender, message in messages.items():
            accept(self.post, sender, message.wraps[self.slot], self.info(sender, self.slot))

    def info(self, sender: str, receiver: str) -> bytes:
        """What a pair key is bound to."""
        return pair_info(self.facts, self.heard, sender, receiver)

    def wipe(self) -> None:
        """Forget the ceremony key and all pair keys."""
        self.post.wipe()


def heard_of(facts: Facts, payloads: Mapping[str, bytes]) -> bytes:
    """Hash over all announcements, 32 bytes."""
    return hashlib.sha256(
        tagged("ceremony-announcements", facts.context, *(payloads[slot] for slot in facts.slots))
    ).digest()


def announced(payloads: Mapping[str, bytes], receivers: Iterable[str]) -> dict[str, bytes]:
    """The ceremony keys of all receivers; raises PeerError (`ceremony.malformed`) naming a slot."""
    keys = {}
    for slot in receivers:
        try:
            keys[slot] = decode_as(Announcement, payloads[slot]).kem_key
            ceremony_kem.check_key(keys[slot])
        except (CallerError, WireError):
            raise PeerError(
                "announcement is no well-formed ceremony key", culprits=[slot], code="ceremony.malformed"
            ) from None
    return keys


def pair_info(facts: Facts, heard: bytes, sender: str, receiver: str) -> bytes:
    """What the key of a pair is wrapped with."""
    return tagged("ceremony-pair", facts.context, heard, sender.encode(), receiver.encode())


def accept(post: Post, sender: str, wrapped: bytes, info: bytes) -> None:
    """Take a pair key; raises PeerError (`share.unreadable`) naming the sender."""
    try:
        post.accept(sender, wrapped, info)
    except CallerError:
        raise PeerError("wrapped key does not open", culprits=[sender], code="share.unreadable") from None


def read_batch(
    payloads: Mapping[str, bytes], senders: Iterable[str], *, receivers: Iterable[str], items: int, heard: bytes
) -> dict[str, BatchMessage]:
    """Every sender's message: pair keys for exactly the receivers, `items` payloads, the announcements as heard here.

    Raises PeerError naming a slot (`ceremony.malformed`), AbortError (`ceremony.equivocation`).
    """
    expected, messages = set(receivers), {}
    for slot in senders:
        message = _decode(slot, payloads[slot])
        sizes = {len(wrapped) for wrapped in message.wraps.values()}
        if set(message.wraps) != expected or sizes - {ceremony_kem.WRAPPED_KEY_BYTES} or len(message.items) != items:
            raise PeerError(
                "message is not one item per key and one key per receiver", culprits=[slot], code="ceremony.malformed"
            )
        if message.heard != heard:
            raise AbortError("participants saw different announcements", code="ceremony.equivocation")
        messages[slot] = message
    return messages


def item_context(facts: Facts, number: int) -> bytes:
    """Context of one key's part: the facts, which hold its source certificate, and its place among them."""
    return tagged("ceremony-item", facts.context, number.to_bytes(4, "big"))


def batch_transcript(transcripts: Sequence[bytes]) -> bytes:
    """One hash over what the rounds said about each key, 32 bytes."""
    return hashlib.sha256(tagged("ceremony-batch", *transcripts)).digest()


def _decode(slot: str, payload: bytes) -> BatchMessage:
    try:
        if len(payload) <= PAYLOAD_BYTES_MAX:
            return decode_as(BatchMessage, payload)
    except WireError:
        pass
    raise PeerError("payload does not have its stated form", culprits=[slot], code="ceremony.malformed")
