"""Sets of bundles in their place: one set per export, with what its evidence is judged by; what a set covers.

Rules kept (specs/backup.md section 5): a key is covered by shares under one and the same certificate only; a set may
go only when a newer one has every bundle verified and holds every key of it completely, at that epoch or a later one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from attestation.errors import CodedError
from enclave.backup.bundle import Bundle, Indexed, read_bundle, write_bundle
from kms.client.backup.fetching import check_origin
from kms.client.backup.surroundings import Surroundings
from kms.client.backup.targets import Target
from kms.client.errors import ConfigurationError

CONTEXT = "context"

SUFFIX = ".bundle"

SETS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How well a set covers one key version."""

    key: str
    version: int
    epoch: int
    shares_needed: int
    holders: int
    slots: tuple[str, ...]
    """Whose shares are there, all under one certificate."""

    @property
    def is_recoverable(self) -> bool:
        """Whether enough shares are there to use the key again."""
        return len(self.slots) >= self.shares_needed

    @property
    def is_complete(self) -> bool:
        """Whether every holder's share is there."""
        return len(self.slots) == self.holders

    def to_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "key": self.key,
            "version": self.version,
            "epoch": self.epoch,
            "shares_needed": self.shares_needed,
            "holders": self.holders,
            "slots": list(self.slots),
            "recoverable": self.is_recoverable,
            "complete": self.is_complete,
        }


@dataclass(slots=True, kw_only=True)
class BundleSet:
    """One set, read and verified as far as that goes without mnemonics."""

    name: str
    bundles: dict[str, Bundle] = field(default_factory=dict)
    troubles: dict[str, CodedError] = field(default_factory=dict)
    """Slot -> why its bundle does not count."""

    @property
    def coverage(self) -> dict[tuple[str, int], Coverage]:
        """Every key version named anywhere in the set."""
        return coverage({slot: bundle.closing.index for slot, bundle in self.bundles.items()})


class Sets:
    """All sets of one cluster at one place."""

    def __init__(self, target: Target, cluster: bytes) -> None:
        self._target = target
        self._cluster = cluster
        self._prefix = cluster.hex()[:16]

    def names(self) -> list[str]:
        """The sets, oldest first."""
        found = {name.split("/")[1] for name in self._target.names(f"{self._prefix}/") if name.count("/") == 2}
        return sorted(found)[-SETS_MAX:]

    def slots(self, name: str) -> list[str]:
        """Slots that have a bundle in a set."""
        prefix = f"{self._prefix}/{name}/"
        names = (item.removeprefix(prefix) for item in self._target.names(prefix))
        return sorted(item.removesuffix(SUFFIX) for item in names if item.endswith(SUFFIX))

    def newest(self) -> str:
        """The newest set; raises ConfigurationError (`backup.not-found`)."""
        names = self.names()
        if not names:
            raise ConfigurationError("there is no set of this cluster's bundles here", code="backup.not-found")
        return names[-1]

    def write(self, bundles: Mapping[str, Bundle], surroundings: Surroundings) -> str:
        """Keep bundles as a new set; returns its name.  Raises UnavailableError, ConfigurationError."""
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(2).hex()}"
        self._target.write(f"{self._prefix}/{name}/{CONTEXT}", surroundings.kept())
        for slot, bundle in sorted(bundles.items()):
            self._target.write(f"{self._prefix}/{name}/{slot}{SUFFIX}", write_bundle(bundle))
        return name

    def read(self, name: str, surroundings: Surroundings) -> BundleSet:
        """A set with everything verified that takes no mnemonics; what fails is noted by slot."""
        result = BundleSet(name=name)
        try:
            then = surroundings.as_of(self._target.read(f"{self._prefix}/{name}/{CONTEXT}"))
        except CodedError as error:
            result.troubles = dict.fromkeys(self.slots(name), error)
            return result
        for slot in self.slots(name):
            try:
                data = self._target.read(f"{self._prefix}/{name}/{slot}{SUFFIX}")
                bundle = read_bundle(data, cluster=self._cluster, slot=slot)
                check_origin(bundle, then)
            except CodedError as error:
                result.troubles[slot] = error
            else:
                result.bundles[slot] = bundle
        return result

    def prune(self, surroundings: Surroundings) -> list[str]:
        """Remove the sets that the newest one makes unnecessary; returns their names."""
        names = self.names()
        if len(names) < 2:
            return []
        newest = self.read(names[-1], surroundings)
        wanted = surroundings.roster.backup
        gone = []
        for name in names[:-1]:
            older = self.read(name, surroundings)
            if wanted is not None and supersedes(newest, older, wanted.slots):
                for item in self._target.names(f"{self._prefix}/{name}/"):
                    self._target.delete(item)
                gone.append(name)
        return gone


def coverage(indexes: Mapping[str, Sequence[Indexed]]) -> dict[tuple[str, int], Coverage]:
    """Per key version the newest epoch of which enough shares are there, else the best there is."""
    groups: dict[tuple[str, int], dict[tuple[int, bytes], list[tuple[str, Indexed]]]] = {}
    for slot, index in indexes.items():
        for item in index:
            epochs = groups.setdefault((item.key, item.version), {})
            epochs.setdefault((item.epoch, item.certificate), []).append((slot, item))
    return {name: max(map(_covered, epochs.values()), key=_worth) for name, epochs in sorted(groups.items())}


def supersedes(newer: BundleSet, older: BundleSet, slots: Iterable[str]) -> bool:
    """Whether everything the older set could restore, the newer one restores as new or newer, with every share."""
    if newer.troubles or not set(slots) <= set(newer.bundles):
        return False
    if older.troubles:
        return False  # what cannot be read cannot be compared
    have = newer.coverage
    for name, item in older.coverage.items():
        now = have.get(name)
        if now is None or not now.is_complete or now.epoch < item.epoch:
            return False
    return True


def _covered(items: Sequence[tuple[str, Indexed]]) -> Coverage:
    first = items[0][1]
    return Coverage(
        key=first.key,
        version=first.version,
        epoch=first.epoch,
        shares_needed=first.shares_needed,
        holders=first.holders,
        slots=tuple(sorted(slot for slot, _ in items)),
    )


def _worth(item: Coverage) -> tuple[bool, int, int]:
    return item.is_recoverable, item.epoch, len(item.slots)
