"""One exchange, used by refresh and reshare: receivers announce ceremony keys, dealers share committed polynomials.

Rules kept (specs/epochs.md section 3): a dealer's constant is zero or is checked against a point everyone knows, so
no proof of possession is needed; every receiver checks its shares; all participants compare one transcript hash before
anything takes effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from enclave.errors import AbortError, CallerError, PeerError
from enclave.secret import Secret
from enclave.threshold import ceremony_kem, shamir, vss
from enclave.threshold.ceremony import Ceremony
from enclave.wire.message import encode, tagged


class Announcement(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A receiver's ceremony public key."""

    kem_key: bytes


class Dealt(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A dealer's echo of all announcements, commitments, and a sealed share for every receiver by index."""

    echo: bytes
    commitments: list[bytes]
    sealed: dict[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Who deals to whom, and what the dealt constants must be."""

    dealers: Ceremony
    receivers: Ceremony
    constants: Mapping[int, bytes] | None
    """Dealer -> public point of its constant; None when every constant is zero."""

    @property
    def commitments_count(self) -> int:
        """Commitments of one dealer: one per coefficient that is not zero by rule."""
        return self.receivers.threshold - (1 if self.constants is None else 0)

    @property
    def binding(self) -> bytes:
        """32 bytes over dealers, receivers and everything their contexts carry."""
        return hashlib.sha256(tagged("dealing", self.dealers.binding, self.receivers.binding)).digest()

    def echo(self, announcements: Mapping[int, bytes]) -> bytes:
        """Hash over all announcements."""
        return hashlib.sha256(
            tagged("dealing-echo", self.binding, self.receivers.digest("announcements", announcements))
        ).digest()

    def transcript(self, announcements: Mapping[int, bytes], dealings: Mapping[int, bytes]) -> bytes:
        """The hash every participant signs."""
        return hashlib.sha256(
            tagged("dealing-transcript", self.echo(announcements), self.dealers.digest("dealings", dealings))
        ).digest()

    def share_context(self, echo: bytes, dealer: int, receiver: int) -> bytes:
        """Associated data of one sealed share."""
        return tagged("dealt-share", self.binding, echo, dealer.to_bytes(4, "big"), receiver.to_bytes(4, "big"))


def read_announcements(terms: Terms, payloads: Mapping[int, bytes]) -> dict[int, bytes]:
    """Every receiver's ceremony key; raises PeerError (`ceremony.malformed`), AbortError."""
    terms.receivers.check_complete(payloads)
    keys = {}
    for i in terms.receivers.indices:
        key = terms.receivers.decode(Announcement, i, payloads[i]).kem_key
        try:
            ceremony_kem.check_key(key)
        except CallerError:
            raise terms.receivers.blame(i, "ceremony key is not well formed", code="ceremony.malformed") from None
        keys[i] = key
    return keys


def read_dealings(terms: Terms, echo: bytes, payloads: Mapping[int, bytes]) -> dict[int, Dealt]:
    """Every dealer's message after all checks that need no secret.

    Raises PeerError naming the dealer (`ceremony.malformed`, `commitment.invalid`), AbortError.
    """
    terms.dealers.check_complete(payloads)
    messages = {}
    for i in terms.dealers.indices:
        message = terms.dealers.decode(Dealt, i, payloads[i])
        sizes = {len(sealed) for sealed in message.sealed.values()}
        if set(message.sealed) != set(terms.receivers.slots) or sizes != {ceremony_kem.SEALED_BYTES}:
            raise terms.dealers.blame(i, "sealed shares are not one for each receiver", code="ceremony.malformed")
        group = terms.dealers.group
        vss.check_commitments(group, message.commitments, terms.commitments_count, dealer=terms.dealers.slots[i])
        if message.echo != echo:
            raise AbortError("participants saw different announcements", code="ceremony.equivocation")
        if terms.constants is not None and message.commitments[0] != terms.constants[i]:
            raise terms.dealers.blame(i, "the dealt constant is not the required one", code="commitment.invalid")
        messages[i] = message
    return messages


def deal(terms: Terms, index: int, polynomial: shamir.Polynomial, announcements: Mapping[int, bytes]) -> bytes:
    """A dealer's payload; the caller wipes the polynomial.  Raises PeerError, AbortError."""
    keys = read_announcements(terms, announcements)
    echo = terms.echo(announcements)
    sealed = {}
    for receiver, key in keys.items():
        with polynomial.at(receiver) as share:
            try:
                sealed[receiver] = ceremony_kem.seal(key, share, terms.share_context(echo, index, receiver))
            except CallerError:
                raise terms.receivers.blame(receiver, "ceremony key is not usable", code="ceremony.malformed") from None
    return encode(Dealt(echo, list(polynomial.commitments()), sealed))


class Receiver:
    """The receiving end of one participant."""

    def __init__(self, terms: Terms, index: int) -> None:
        self._terms = terms
        self._index = index
        self._key = ceremony_kem.CeremonyKey()
        self.announcement = encode(Announcement(self._key.public))

    def receive(
        self, announcements: Mapping[int, bytes], dealings: Mapping[int, bytes]
    ) -> tuple[Secret, tuple[bytes, ...]]:
        """The sum of the dealt shares and of the dealt commitments, all checked.

        Raises PeerError naming the dealer (`share.unreadable`, `share.invalid` and as read_dealings), AbortError.
        """
        terms = self._terms
        read_announcements(terms, announcements)
        self.check_own(announcements)
        echo = terms.echo(announcements)
        messages = read_dealings(terms, echo, dealings)
        shares: list[Secret] = []
        try:
            shares.extend(self._open(echo, dealer, message) for dealer, message in messages.items())
            total = shamir.add_all(terms.dealers.group, shares)
        finally:
            for share in shares:
                share.wipe()
        return total, vss.sum_commitments(terms.dealers.group, [m.commitments for m in messages.values()])

    def check_own(self, announcements: Mapping[int, bytes]) -> None:
        """Raises AbortError (`ceremony.equivocation`) unless this receiver's announcement came back unchanged."""
        if announcements.get(self._index) != self.announcement:
            raise AbortError("own announcement was altered on the way", code="ceremony.equivocation")

    def wipe(self) -> None:
        """Forget the ceremony key."""
        self._key.wipe()

    def _open(self, echo: bytes, dealer: int, message: Dealt) -> Secret:
        terms, group = self._terms, self._terms.dealers.group
        slot = terms.dealers.slots[dealer]
        associated = terms.share_context(echo, dealer, self._index)
        try:
            share = ceremony_kem.open_scalar(group, self._key, message.sealed[self._index], associated)
        except CallerError:
            raise PeerError(
                "sealed share does not open to a scalar", culprits=[slot], code="share.unreadable"
            ) from None
        verify = vss.verify_share_through_zero if terms.constants is None else vss.verify_share
        try:
            verify(group, share, self._index, message.commitments, dealer=slot)
        except PeerError:
            share.wipe()
            raise
        return share
