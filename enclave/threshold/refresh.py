"""Refresh: new shares of the same key for the same holders, worthless together with old ones.

Every holder deals a polynomial through zero; shares and commitments are added (Herzberg and others, CRYPTO 1995).
The node adds prepare and commit certificates and wipes the old epoch at commit (specs/epochs.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from enclave.errors import AbortError, CallerError
from enclave.group import Group
from enclave.secret import Secret
from enclave.threshold import shamir, vss
from enclave.threshold.ceremony import Ceremony, StrictRounds
from enclave.threshold.dealing import Receiver, Terms, deal, read_dealings
from enclave.threshold.dkg import KeyShare
from enclave.threshold.post import Post
from enclave.wire.message import tagged

THRESHOLD_MIN = 2
"""With T = 1 every share is the key, and there is nothing to refresh."""


def refresh_terms(
    group: Group,
    *,
    session: bytes,
    slots: Mapping[int, str],
    commitments: tuple[bytes, ...],
    context: bytes,
    heard: bytes | None = None,
) -> Terms:
    """The public terms of a refresh of the key with these commitments; `context` names key and source epoch."""
    if len(commitments) < THRESHOLD_MIN:
        raise CallerError("a key with threshold one cannot be refreshed", code="share.threshold")
    bound = tagged("refresh-terms", context, *commitments)
    holders = Ceremony(
        protocol="refresh", group=group, session=session, slots=slots, threshold=len(commitments), context=bound
    )
    return Terms(dealers=holders, receivers=holders, constants=None, heard=heard)


class Participant:
    """One holder in one refresh; `share` stays the caller's until the commit certificate."""

    def __init__(
        self,
        group: Group,
        *,
        session: bytes,
        slots: Mapping[int, str],
        share: KeyShare,
        context: bytes,
        heard: bytes | None = None,
        post: Post | None = None,
    ) -> None:
        """In a batch, whose round 1 is over, with what was `heard` in it and the participant's `post`."""
        if set(slots) != set(share.public_shares):
            raise CallerError("a refresh needs every holder of the key", code="ceremony.participants")
        self._group, self._share = group, share
        self._terms = refresh_terms(
            group, session=session, slots=dict(slots), commitments=share.commitments, context=context, heard=heard
        )
        self._rounds = StrictRounds()
        if post is not None:
            self._rounds.done(1)
        self._post = post
        self._receiver = Receiver(self._terms, share.index, post)
        self._announcements: dict[int, bytes] = {}
        self._dealing = b""

    def round1(self) -> bytes:
        """Announce the ceremony key."""
        self._rounds.enter(1)
        self._rounds.done(1)
        return self._receiver.announcement

    def round2(self, announcements: Mapping[int, bytes]) -> bytes:
        """Deal a polynomial through zero.  Raises PeerError, AbortError."""
        self._rounds.enter(2)
        size = len(self._share.commitments)
        try:
            self._receiver.check_own(announcements)
            with shamir.Polynomial.random_through_zero(self._group, size) as polynomial:
                payload = deal(self._terms, self._share.index, polynomial, announcements, self._post)
        except BaseException:
            self._receiver.wipe()
            raise
        self._announcements = dict(announcements)
        self._dealing = payload
        self._rounds.done(2)
        return payload

    def round3(self, dealings: Mapping[int, bytes]) -> tuple[bytes, KeyShare]:
        """The transcript hash to sign and the share of the next epoch.  Raises PeerError, AbortError."""
        self._rounds.enter(3)
        old, group = self._share, self._group
        try:
            self._check_own(dealings)
            # Announcements were read in round 2.
            echo = self._terms.echo(self._announcements)
            messages, added = read_dealings(self._terms, echo, dealings)
            commitments = next_commitments(group, old.commitments, added)
            public_shares = vss.public_shares(group, commitments, old.public_shares)

            def take(delta: Secret) -> Secret | None:
                secret = group.add(old.secret, delta)
                if group.base_mult(secret) == public_shares[old.index]:
                    return secret
                secret.wipe()
                return None

            secret = self._receiver.receive(echo, messages, take)
        finally:
            self._receiver.wipe()
        return self._terms.transcript(echo, dealings), KeyShare(
            secret=secret,
            index=old.index,
            commitments=commitments,
            public_key=old.public_key,
            public_shares=public_shares,
        )

    def _check_own(self, dealings: Mapping[int, bytes]) -> None:
        if dealings.get(self._share.index) != self._dealing:
            raise AbortError("own dealing is missing or was altered on the way", code="ceremony.equivocation")


def next_commitments(group: Group, old: tuple[bytes, ...], added: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Commitments after a refresh: the constant, which is the public key, stays."""
    return (old[0], *vss.sum_commitments(group, [old[1:], added]))
