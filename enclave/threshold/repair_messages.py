"""The terms and payloads of repair, and what can be checked about them without a secret (specs/epochs.md section 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from enclave.errors import AbortError, CallerError
from enclave.group import Group
from enclave.threshold import ceremony_kem, shamir, vss
from enclave.threshold.ceremony import Ceremony
from enclave.threshold.dealing import Announcement
from enclave.wire.message import tagged


class Parts(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A helper's second payload: echo, and per helper the public point of a part and the sealed part."""

    echo: bytes
    points: dict[int, bytes]
    sealed: dict[int, bytes]


class Contribution(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A helper's third payload: echo of the second round and the sum of its parts, sealed to the target."""

    echo: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Exactly T helpers, the target that lost its share, and the key's commitments."""

    helpers: Ceremony
    target: int
    target_slot: str
    commitments: tuple[bytes, ...]
    heard: bytes | None = None
    """In a batch of keys: hash of the announcements, which were checked once for all of them; else None."""

    @property
    def members(self) -> Ceremony:
        """Helpers and target: those who announce a ceremony key."""
        h = self.helpers
        return Ceremony(
            protocol="repair-members",
            group=h.group,
            session=h.session,
            slots={**h.slots, self.target: self.target_slot},
            threshold=h.threshold,
            context=h.binding,
        )

    def weighted_public(self, helper: int) -> bytes:
        """Public point of what a helper contributes: its share weighted for the target's index."""
        group = self.helpers.group
        weight = shamir.lagrange(self.helpers.indices, helper, group.order, at=self.target)
        return group.mult_public(weight, vss.public_share(group, self.commitments, helper))

    def associated(self, echo: bytes, sender: int, receiver: int, number: int) -> bytes:
        """Associated data of a sealed part or sum."""
        ends = (sender.to_bytes(4, "big"), receiver.to_bytes(4, "big"), number.to_bytes(4, "big"))
        return tagged("repair-part", self.helpers.binding, echo, *ends)


def repair_terms(
    group: Group,
    *,
    session: bytes,
    helpers: Mapping[int, str],
    target: int,
    target_slot: str,
    commitments: Sequence[bytes],
    context: bytes,
    heard: bytes | None = None,
) -> Terms:
    """The public terms; `context` names key and epoch.  Raises CallerError unless T helpers and another target."""
    if len(helpers) != len(commitments) or target in helpers:
        raise CallerError("a repair takes exactly T helpers and another target", code="ceremony.participants")
    bound = tagged("repair-terms", context, target.to_bytes(4, "big"), target_slot.encode(), *commitments)
    ceremony = Ceremony(
        protocol="repair", group=group, session=session, slots=helpers, threshold=len(commitments), context=bound
    )
    terms = Terms(helpers=ceremony, target=target, target_slot=target_slot, commitments=tuple(commitments), heard=heard)
    shamir.check_indices(terms.members.slots)
    return terms


def read_parts(terms: Terms, echo: bytes, payloads: Mapping[int, bytes]) -> dict[int, Parts]:
    """Every helper's second payload after its public checks: the parts' points add up to the weighted share's point.

    Raises PeerError naming the helper, AbortError.
    """
    helpers, group = terms.helpers, terms.helpers.group
    helpers.check_complete(payloads)
    messages = {}
    for i in helpers.indices:
        message = helpers.decode(Parts, i, payloads[i])
        if set(message.points) != set(helpers.slots) or set(message.sealed) != set(helpers.slots):
            raise helpers.blame(i, "parts are not one for each helper", code="ceremony.malformed")
        points = [message.points[j] for j in helpers.indices]
        vss.check_commitments(group, points, len(helpers.slots), dealer=helpers.slots[i])
        if message.echo != echo:
            raise AbortError("helpers saw different announcements", code="ceremony.equivocation")
        if _sum(group, points) != terms.weighted_public(i):
            raise helpers.blame(i, "parts do not add up to the helper's share", code="commitment.invalid")
        messages[i] = message
    return messages


def read_announcements(terms: Terms, payloads: Mapping[int, bytes]) -> dict[int, bytes]:
    """The ceremony keys of helpers and target, none in a batch; raises PeerError (`ceremony.malformed`), AbortError."""
    if terms.heard is not None:
        return {}
    members = terms.members
    members.check_complete(payloads)
    keys = {}
    for i in members.indices:
        keys[i] = members.decode(Announcement, i, payloads[i]).kem_key
        try:
            ceremony_kem.check_key(keys[i])
        except CallerError:
            raise members.blame(i, "ceremony key is not well formed", code="ceremony.malformed") from None
    return keys


def echo_of(terms: Terms, announcements: Mapping[int, bytes]) -> bytes:
    """Hash over all announcements."""
    heard = terms.heard or terms.members.digest("announcements", announcements)
    return hashlib.sha256(tagged("repair-echo", terms.helpers.binding, heard)).digest()


def _sum(group: Group, points: list[bytes]) -> bytes | None:
    try:
        return group.point_add(*points)
    except AbortError:
        return None
