"""A cluster's rosters from one version on, each proven by the one before (specs/roster.md section 4).

Rules kept: nothing is skipped, nothing goes back, every step passes both quorums; one signed roster alone is the
chain of a cluster that is still at version 1.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json, parse_json
from attestation.envelope import Envelope
from attestation.errors import DocumentError
from enclave.roster import Roster
from enclave.roster_change import restricted

ROSTERS_MAX = 1024
"""Most versions read at once: one a day for almost three years; a longer chain is read in parts."""

CHAIN_BYTES_MAX = 16 << 20
"""Largest chain read, in bytes: 1024 rosters of a usual size, or fewer of the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One verified version and the envelope that proves it."""

    roster: Roster
    envelope: bytes


def read_chain(data: bytes, *, known: Roster | None = None) -> tuple[Link, ...]:
    """The versions after `known` (from 1 on without it) in a chain or a single signed roster, each verified.

    Versions up to `known` are passed over, except that `known`'s own must be the same.  Raises DocumentError
    (`roster.chain` where a version is missing or another took its place; every code of `Roster.parse`).
    """
    links: list[Link] = []
    last = known
    for envelope in envelopes_of(data):
        value = Envelope.parse(envelope).value()
        version = value.get("version") if isinstance(value, dict) else None
        if known is not None and type(version) is int and version <= known.version:
            if version == known.version:
                _check_same(envelope, known)
            continue
        roster = Roster.parse(envelope, previous=last)
        links.append(Link(roster=roster, envelope=envelope))
        last = roster
    if last is None:
        raise DocumentError("expected at least one roster", code="roster.malformed")
    return tuple(links)


def envelopes_of(data: bytes) -> list[bytes]:
    """The signed rosters of a chain, or the one given alone, unverified; raises DocumentError."""
    value = parse_json(data, bytes_max=CHAIN_BYTES_MAX)
    if not isinstance(value, dict) or "rosters" not in value:
        return [canonical_json(Envelope.parse(data).to_json())]
    rosters: Any = value["rosters"]
    if set(value) != {"rosters"} or not isinstance(rosters, list) or len(rosters) > ROSTERS_MAX:
        raise DocumentError(f"expected at most {ROSTERS_MAX} rosters", code="roster.malformed")
    return [canonical_json(Envelope.parse(item).to_json()) for item in rosters]


def write_chain(envelopes: Sequence[bytes]) -> bytes:
    """The file or message that `read_chain` reads: one roster as it is, more as `{"rosters": [...]}`."""
    if len(envelopes) == 1:
        return envelopes[0]
    return canonical_json({"rosters": [parse_json(envelope) for envelope in envelopes]})


def rosters_of(links: Iterable[Link]) -> list[Roster]:
    """The verified rosters alone."""
    return [link.roster for link in links]


def _check_same(envelope: bytes, known: Roster) -> None:
    if Roster.from_payload(Envelope.parse(envelope).value()).digest != known.digest:
        raise DocumentError(
            f"version {known.version} is another roster than the one held",
            code="roster.chain",
            hint="two rosters of one version were signed: ask the operators which one counts",
        )


def judged_by(rosters: Sequence[Roster], digest: bytes) -> Roster:
    """The roster by which a reader that holds `rosters` judges evidence naming `digest`.

    The named one, less whatever a later one takes away: a node shows the version in force at its place, and
    restrictions count on receipt.  The newest for a digest that none of them has, which then does not fit.
    """
    place = next((number for number, roster in enumerate(rosters) if roster.digest == digest), len(rosters) - 1)
    return functools.reduce(restricted, rosters[place + 1 :], rosters[place])
