"""One exchange, used by refresh and reshare: receivers announce ceremony keys, dealers share committed polynomials.

Rules kept (specs/epochs.md section 3): a dealer's constant is zero or is checked against a point everyone knows, so
no proof of possession is needed; every receiver checks its shares; all participants compare one transcript hash before
anything takes effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from enclave.errors import AbortError, CallerError, PeerError
from enclave.secret import Secret
from enclave.threshold import ceremony_kem, shamir, vss
from enclave.threshold.ceremony import Ceremony
from enclave.threshold.post import ITEM_BYTES, Post
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
    heard: bytes | None = None
    """In a batch of keys: hash of the announcements, which were checked once for all of them; else None."""
    binding: bytes = field(init=False)
    """32 bytes over dealers, receivers and everything their contexts carry."""

    def __post_init__(self) -> None:
        binding = hashlib.sha256(tagged("dealing", self.dealers.binding, self.receivers.binding)).digest()
        object.__setattr__(self, "binding", binding)

    @property
    def sealed_bytes(self) -> int:
        """Size of one sealed share."""
        return ceremony_kem.SEALED_BYTES if self.heard is None else ITEM_BYTES

    @property
    def commitments_count(self) -> int:
        """Commitments of one dealer: one per coefficient that is not zero by rule."""
        return self.receivers.threshold - (1 if self.constants is None else 0)

    def echo(self, announcements: Mapping[int, bytes]) -> bytes:
        """Hash over all announcements."""
        heard = self.heard or self.receivers.digest("announcements", announcements)
        return hashlib.sha256(tagged("dealing-echo", self.binding, heard)).digest()

    def transcript(self, echo: bytes, dealings: Mapping[int, bytes]) -> bytes:
        """The hash every participant signs."""
        return hashlib.sha256(tagged("dealing-transcript", echo, self.dealers.digest("dealings", dealings))).digest()

    def share_context(self, echo: bytes, dealer: int, receiver: int) -> bytes:
        """Associated data of one sealed share."""
        return tagged("dealt-share", self.binding, echo, dealer.to_bytes(4, "big"), receiver.to_bytes(4, "big"))


def read_announcements(terms: Terms, payloads: Mapping[int, bytes]) -> dict[int, bytes]:
    """Every receiver's ceremony key, none in a batch; raises PeerError (`ceremony.malformed`), AbortError."""
    if terms.heard is not None:
        return {}
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


def read_dealings(
    terms: Terms, echo: bytes, payloads: Mapping[int, bytes]
) -> tuple[dict[int, Dealt], tuple[bytes, ...]]:
    """Every dealer's message after all checks that need no secret, and the commitments to the sum of all.

    Raises PeerError naming the dealer (`ceremony.malformed`, `commitment.invalid`), AbortError.
    """
    dealers, size = terms.dealers, terms.sealed_bytes
    dealers.check_complete(payloads)
    messages = {}
    for i in dealers.indices:
        message = dealers.decode(Dealt, i, payloads[i])
        sizes = {len(sealed) for sealed in message.sealed.values()}
        if message.sealed.keys() != terms.receivers.slots.keys() or sizes != {size}:
            raise dealers.blame(i, "sealed shares are not one for each receiver", code="ceremony.malformed")
        messages[i] = message
    dealt = {dealers.slots[i]: message.commitments for i, message in messages.items()}
    commitments = vss.sum_checked(dealers.group, dealt, terms.commitments_count)
    for i, message in messages.items():
        if message.echo != echo:
            raise AbortError("participants saw different announcements", code="ceremony.equivocation")
        if terms.constants is not None and message.commitments[0] != terms.constants[i]:
            raise dealers.blame(i, "the dealt constant is not the required one", code="commitment.invalid")
    return messages, commitments


def deal(
    terms: Terms,
    index: int,
    polynomial: shamir.Polynomial,
    announcements: Mapping[int, bytes],
    post: Post | None = None,
) -> bytes:
    """A dealer's payload, in a batch sealed by `post`; the caller wipes the polynomial.  Raises PeerError."""
    keys = read_announcements(terms, announcements)
    echo = terms.echo(announcements)
    sealed = {}
    for receiver, slot in sorted(terms.receivers.slots.items()):
        associated = terms.share_context(echo, index, receiver)
        with polynomial.at(receiver) as share:
            if post is not None:
                sealed[receiver] = post.seal(slot, share, associated)
                continue
            try:
                sealed[receiver] = ceremony_kem.seal(keys[receiver], share, associated)
            except CallerError:
                raise terms.receivers.blame(receiver, "ceremony key is not usable", code="ceremony.malformed") from None
    return encode(Dealt(echo, list(polynomial.commitments()), sealed))


class Receiver:
    """The receiving end of one participant."""

    def __init__(self, terms: Terms, index: int, post: Post | None = None) -> None:
        """`post` is the participant's in a batch, whose owner wipes it."""
        self._terms = terms
        self._index = index
        self._post = post
        self._key = ceremony_kem.CeremonyKey() if post is None else None
        self.announcement = encode(Announcement(self._key.public)) if self._key is not None else b""

    def receive(self, echo: bytes, messages: Mapping[int, Dealt], take: Callable[[Secret], Secret | None]) -> Secret:
        """What `take` makes of the sum of the dealt shares; it answers None if that does not fit the commitments.

        Raises PeerError naming the dealer (`share.unreadable`, `share.invalid`), AbortError.
        """
        terms, group = self._terms, self._terms.dealers.group
        shares: list[Secret] = []
        try:
            shares.extend(self._open(echo, dealer, message) for dealer, message in messages.items())
            total = shamir.add_all(group, shares)
            # What fits together fits one by one as far as anybody is concerned; only a misfit has to be found.
            taken = take(total)
            if taken is not total:
                total.wipe()
            if taken is None:
                verify = vss.verify_share_through_zero if terms.constants is None else vss.verify_share
                for share, (dealer, message) in zip(shares, messages.items(), strict=True):
                    verify(group, share, self._index, message.commitments, dealer=terms.dealers.slots[dealer])
                raise AbortError("new share does not match the new commitments")
        finally:
            for share in shares:
                share.wipe()
        return taken

    def check_own(self, announcements: Mapping[int, bytes]) -> None:
        """Raises AbortError (`ceremony.equivocation`) unless this receiver's announcement came back unchanged."""
        if self._key is not None and announcements.get(self._index) != self.announcement:
            raise AbortError("own announcement was altered on the way", code="ceremony.equivocation")

    def wipe(self) -> None:
        """Forget the own ceremony key."""
        if self._key is not None:
            self._key.wipe()

    def _open(self, echo: bytes, dealer: int, message: Dealt) -> Secret:
        terms, group = self._terms, self._terms.dealers.group
        slot = terms.dealers.slots[dealer]
        associated = terms.share_context(echo, dealer, self._index)
        sealed = message.sealed[self._index]
        try:
            if self._post is not None:
                return self._post.open_scalar(group, slot, sealed, associated)
            assert self._key is not None
            return ceremony_kem.open_scalar(group, self._key, sealed, associated)
        except CallerError:
            raise PeerError(
                "sealed share does not open to a scalar", culprits=[slot], code="share.unreadable"
            ) from None
