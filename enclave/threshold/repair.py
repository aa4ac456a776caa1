"""Repair: T holders rebuild one holder's lost share without anyone else learning it, or each other's.

Each helper weights its share for the lost index and splits it into random parts, one per helper; each helper adds the
parts it got and sends the sum to the target.  Parts are committed, so wrong ones name their sender (specs/epochs.md
section 6).  Source: the enrolment protocol of Stinson and Wei (eprint 2017/1155), with commitments.
"""

from __future__ import annotations

from collections.abc import Mapping

from enclave.errors import AbortError, CallerError, PeerError
from enclave.secret import Secret
from enclave.threshold import ceremony_kem, shamir, vss
from enclave.threshold.ceremony import StrictRounds
from enclave.threshold.dealing import Announcement
from enclave.threshold.dkg import KeyShare
from enclave.threshold.post import Post
from enclave.threshold.repair_messages import Contribution, Parts, Terms, echo_of, read_announcements, read_parts
from enclave.wire.message import encode


class Helper:
    """One holder that helps; its share stays its own."""

    def __init__(self, terms: Terms, *, index: int, share: Secret, post: Post | None = None) -> None:
        """`post` is the participant's in a batch, whose round 1 is over; its owner wipes it."""
        if index not in terms.helpers.slots:
            raise CallerError("this holder is not among the helpers", code="ceremony.participants")
        self._terms, self._index, self._share = terms, index, share
        self._rounds = StrictRounds()
        self._post = post
        if post is not None:
            self._rounds.done(1)
        self._key = ceremony_kem.CeremonyKey() if post is None else None
        self._keys: dict[int, bytes] = {}
        self._echo = b""
        self._parts = b""

    def round1(self) -> bytes:
        """Announce the ceremony key."""
        self._rounds.enter(1)
        self._rounds.done(1)
        assert self._key is not None
        return encode(Announcement(self._key.public))

    def round2(self, announcements: Mapping[int, bytes]) -> bytes:
        """Split the weighted share into one part per helper; `announcements` include the target's."""
        self._rounds.enter(2)
        terms, group = self._terms, self._terms.helpers.group
        parts: dict[int, Secret] = {}
        try:
            self._keys = read_announcements(terms, announcements)
            if self._key is not None:
                self._check_own("announcement", self._keys[self._index], self._key.public)
            self._echo = echo_of(terms, announcements)
            self._split(parts)
            points = {j: group.base_mult(part) for j, part in parts.items()}
            sealed = {j: self._seal(j, part, self._echo, 2) for j, part in parts.items()}
        except BaseException:
            _forget(self._key)
            raise
        finally:
            for part in parts.values():
                part.wipe()
        self._parts = encode(Parts(self._echo, points, sealed))
        self._rounds.done(2)
        return self._parts

    def round3(self, payloads: Mapping[int, bytes]) -> bytes:
        """Check and add the parts received; seal the sum to the target.  Raises PeerError, AbortError."""
        self._rounds.enter(3)
        terms, group = self._terms, self._terms.helpers.group
        parts: list[Secret] = []
        try:
            self._check_own("second payload", payloads.get(self._index), self._parts)
            messages = read_parts(terms, self._echo, payloads)
            for sender, m in messages.items():
                associated = terms.associated(self._echo, sender, self._index, 2)
                sealed, point = m.sealed[self._index], m.points[self._index]
                parts.append(_open(terms, self._post or self._key, sender, sealed, associated, point))
            with shamir.add_all(group, parts) as total:
                echo = terms.helpers.digest("repair-parts", payloads)
                to_target = self._seal(terms.target, total, echo, 3)
        finally:
            _forget(self._key)
            for part in parts:
                part.wipe()
        self._rounds.done(3)
        return encode(Contribution(echo, to_target))

    def _check_own(self, what: str, found: bytes | None, sent: bytes) -> None:
        if found != sent:
            raise AbortError(f"own {what} is missing or was altered on the way", code="ceremony.equivocation")

    def _split(self, parts: dict[int, Secret]) -> None:
        """Fill `parts`, which the caller wipes: all random but the last, which is the rest of the weighted share."""
        terms, group = self._terms, self._terms.helpers.group
        *others, last = terms.helpers.indices
        weight = shamir.lagrange(terms.helpers.indices, self._index, group.order, at=terms.target)
        parts[last] = group.mul_public(self._share, weight)
        for j in others:
            parts[j] = group.random_scalar()
            with parts[last]:
                parts[last] = group.sub(parts[last], parts[j])

    def _seal(self, receiver: int, secret: Secret, echo: bytes, number: int) -> bytes:
        associated = self._terms.associated(echo, self._index, receiver, number)
        if self._post is not None:
            return self._post.seal(self._terms.members.slots[receiver], secret, associated)
        try:
            return ceremony_kem.seal(self._keys[receiver], secret, associated)
        except CallerError:
            raise self._terms.members.blame(receiver, "ceremony key is not usable", code="ceremony.malformed") from None


class Target:
    """The holder whose share is rebuilt."""

    def __init__(self, terms: Terms, post: Post | None = None) -> None:
        """`post` is the participant's in a batch; its owner wipes it."""
        self._terms = terms
        self._post = post
        self._key = ceremony_kem.CeremonyKey() if post is None else None

    def round1(self) -> bytes:
        """Announce the ceremony key."""
        assert self._key is not None
        return encode(Announcement(self._key.public))

    def finish(
        self, announcements: Mapping[int, bytes], parts: Mapping[int, bytes], contributions: Mapping[int, bytes]
    ) -> KeyShare:
        """The rebuilt share, checked against the key's commitments.  `indices` of public shares are the members'.

        Raises PeerError naming the helper, AbortError.
        """
        terms, group = self._terms, self._terms.helpers.group
        keys = read_announcements(terms, announcements)
        if self._key is not None and keys[terms.target] != self._key.public:
            raise AbortError("own announcement was altered on the way", code="ceremony.equivocation")
        messages = read_parts(terms, echo_of(terms, announcements), parts)
        echo = terms.helpers.digest("repair-parts", parts)
        terms.helpers.check_complete(contributions)
        sums: list[Secret] = []
        try:
            for j in terms.helpers.indices:
                message = terms.helpers.decode(Contribution, j, contributions[j])
                if message.echo != echo:
                    raise AbortError("helpers saw different parts", code="ceremony.equivocation")
                expected = group.point_add(*(m.points[j] for m in messages.values()))
                associated = terms.associated(echo, j, terms.target, 3)
                sums.append(_open(terms, self._post or self._key, j, message.sealed, associated, expected))
            secret = shamir.add_all(group, sums)
        finally:
            _forget(self._key)
            for value in sums:
                value.wipe()
        members = terms.members.indices
        public_shares = {i: vss.public_share(group, terms.commitments, i) for i in members}
        if group.base_mult(secret) != public_shares[terms.target]:
            secret.wipe()
            raise AbortError("rebuilt share does not match the key's commitments")
        return KeyShare(
            secret=secret,
            index=terms.target,
            commitments=terms.commitments,
            public_key=terms.commitments[0],
            public_shares=public_shares,
        )


def _forget(key: ceremony_kem.CeremonyKey | None) -> None:
    if key is not None:
        key.wipe()


def _open(
    terms: Terms,
    key: Post | ceremony_kem.CeremonyKey | None,
    sender: int,
    sealed: bytes,
    associated: bytes,
    expected: bytes,
) -> Secret:
    group, slot = terms.helpers.group, terms.helpers.slots[sender]
    try:
        if isinstance(key, Post):
            part = key.open_scalar(group, slot, sealed, associated)
        else:
            assert key is not None
            part = ceremony_kem.open_scalar(group, key, sealed, associated)
    except CallerError:
        raise PeerError("sealed part does not open to a scalar", culprits=[slot], code="share.unreadable") from None
    if group.base_mult(part) != expected:
        part.wipe()
        raise PeerError("part does not match its commitment", culprits=[slot], code="share.invalid")
    return part
