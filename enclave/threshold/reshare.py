"""Reshare: the same key for another committee or threshold, disjoint ones included.

A quorum of old holders deals its weighted shares to the new holders (Desmedt and Jajodia; verifiable as by Wong, Wang
and Wing).  A dealer's constant is checked against its public share, so the key cannot change (specs/epochs.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from enclave.errors import AbortError, CallerError
from enclave.group import Group
from enclave.secret import Secret
from enclave.threshold import shamir, vss
from enclave.threshold.ceremony import Ceremony
from enclave.threshold.dealing import Dealt, Receiver, Terms, deal, read_announcements, read_dealings
from enclave.threshold.dkg import KeyShare
from enclave.threshold.post import Post
from enclave.wire.message import tagged


def reshare_terms(
    group: Group,
    *,
    session: bytes,
    dealers: Mapping[int, str],
    receivers: Mapping[int, str],
    threshold: int,
    commitments: Sequence[bytes],
    context: bytes,
    heard: bytes | None = None,
) -> Terms:
    """The public terms: at least T old holders by old index, all new holders by new index, the new threshold.

    `commitments` are the old epoch's; `context` names key and source epoch.  Raises CallerError.
    """
    if len(dealers) < len(commitments):
        raise CallerError("a reshare needs at least the old threshold of dealers", code="ceremony.participants")
    bound = tagged("reshare-terms", context, *commitments)
    old = Ceremony(
        protocol="reshare-dealers",
        group=group,
        session=session,
        slots=dealers,
        threshold=len(commitments),
        context=bound,
    )
    new = Ceremony(
        protocol="reshare-receivers",
        group=group,
        session=session,
        slots=receivers,
        threshold=threshold,
        context=bound,
    )
    constants = {
        i: group.mult_public(
            shamir.lagrange(old.indices, i, group.order), vss.public_share(group, tuple(commitments), i)
        )
        for i in old.indices
    }
    return Terms(dealers=old, receivers=new, constants=constants, heard=heard)


def deal_share(
    terms: Terms, *, index: int, share: Secret, announcements: Mapping[int, bytes], post: Post | None = None
) -> bytes:
    """An old holder's payload: its weighted share, dealt to the new committee.  Raises PeerError, AbortError."""
    group = terms.dealers.group
    with (
        group.mul_public(share, shamir.lagrange(terms.dealers.indices, index, group.order)) as weighted,
        shamir.Polynomial.random(group, terms.receivers.threshold, constant=weighted) as polynomial,
    ):
        return deal(terms, index, polynomial, announcements, post)


def verify_reshare(
    terms: Terms, announcements: Mapping[int, bytes], dealings: Mapping[int, bytes], *, public_key: bytes
) -> tuple[bytes, tuple[bytes, ...]]:
    """Transcript hash and new commitments from public data alone: for old holders that get no share, and auditors.

    Raises PeerError naming the culprit, AbortError.
    """
    echo, _, commitments = _read(terms, announcements, dealings, public_key)
    return terms.transcript(echo, dealings), commitments


def _read(
    terms: Terms, announcements: Mapping[int, bytes], dealings: Mapping[int, bytes], public_key: bytes
) -> tuple[bytes, dict[int, Dealt], tuple[bytes, ...]]:
    read_announcements(terms, announcements)
    echo = terms.echo(announcements)
    messages, commitments = read_dealings(terms, echo, dealings)
    if commitments[0] != public_key:
        raise AbortError("the dealt constants do not add up to the key")
    return echo, messages, commitments


class NewHolder:
    """One member of the new committee in one reshare."""

    def __init__(self, terms: Terms, *, index: int, public_key: bytes, post: Post | None = None) -> None:
        if index not in terms.receivers.slots:
            raise CallerError("this holder is not among the receivers", code="ceremony.participants")
        self._terms, self._index, self._public_key = terms, index, public_key
        self._receiver = Receiver(terms, index, post)

    def announce(self) -> bytes:
        """The ceremony key."""
        return self._receiver.announcement

    def receive(self, announcements: Mapping[int, bytes], dealings: Mapping[int, bytes]) -> tuple[bytes, KeyShare]:
        """The transcript hash to sign and the share of the next epoch.  Raises PeerError, AbortError."""
        terms, group = self._terms, self._terms.dealers.group
        try:
            self._receiver.check_own(announcements)
            echo, messages, commitments = _read(terms, announcements, dealings, self._public_key)
            public_shares = vss.public_shares(group, commitments, terms.receivers.indices)

            def take(total: Secret) -> Secret | None:
                return total if group.base_mult(total) == public_shares[self._index] else None

            secret = self._receiver.receive(echo, messages, take)
        finally:
            self._receiver.wipe()
        return terms.transcript(echo, dealings), KeyShare(
            secret=secret,
            index=self._index,
            commitments=commitments,
            public_key=self._public_key,
            public_shares=public_shares,
        )
