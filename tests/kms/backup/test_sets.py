"""Sets of bundles of a cluster in one process: evidence kept with them, what they cover, what supersedes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from enclave.backup.bundle import Bundle, Indexed
from enclave.errors import BackupError
from enclave.wire.attestation import EvidenceRequest
from kms.client.backup.custodians import CustodianFile, Entry
from kms.client.backup.proving import prove
from kms.client.backup.sets import CONTEXT, BundleSet, Sets, coverage, supersedes
from kms.client.backup.surroundings import Surroundings
from kms.client.backup.targets import DirectoryTarget
from tests.enclave.backup.vault import Vault


class Station:
    """A cluster, and an operator who exports from it."""

    def __init__(self, directory: Path) -> None:
        self.vault = Vault(directory / "cluster")
        self.vault.ready()
        self.vault.create_key(shares_needed=2)
        self.root = directory / "backups"

    @property
    def around(self) -> Surroundings:
        """What evidence is judged by now."""
        vault = self.vault
        blobs = tuple(vault.authority.collateral(vault.now))
        return Surroundings(rosters=(vault.roster,), collateral=blobs, snapshot=vault.snapshot(), at=vault.now)

    @property
    def sets(self) -> Sets:
        """What is kept."""
        return Sets(DirectoryTarget(self.root), self.vault.roster.cluster_id)

    def bundle(self, slot: str) -> Bundle:
        """A bundle with evidence over it, as `fetch` makes it."""
        bundle = self.vault.export(slot)
        presentation = self.vault.call(slot, "evidence", EvidenceRequest(nonces=[bundle.digest]))
        return replace(bundle, presentation=presentation)

    def export(self, *slots: str) -> str:
        """A new set of these slots, all by default."""
        bundles = {slot: self.bundle(slot) for slot in slots or self.vault.slots}
        time.sleep(1.01)  # names have the second in them, and order sets
        return self.sets.write(bundles, self.around)

    def files(self, slot: str, *names: str) -> list[CustodianFile]:
        """Custodians' files."""
        vault = self.vault
        recipient = self.bundles_recipient(slot)
        return [
            CustodianFile(
                cluster=vault.roster.cluster_id,
                custodian=f"{name}-{slot}",
                entries=(
                    Entry(slot=slot, set="s", recipient=recipient, group=1, groups_needed=1, members_needed=3,
                          mnemonic=vault.mnemonics[slot][f"{name}-{slot}"]),
                ),
            )
            for name in names
        ]  # fmt: skip

    def bundles_recipient(self, slot: str) -> bytes:
        """Fingerprint of a slot's backup key."""
        from enclave.backup.recipient import fingerprint

        return fingerprint(self.vault.keys[slot])


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    """A cluster with one key."""
    made = Station(tmp_path)
    yield made
    made.vault.stop()


def test_evidence_is_judged_as_of_the_export(station: Station) -> None:
    """A year later, when collateral and registry of that day are long stale, the set still proves its origin."""
    name = station.export()
    later = replace(station.around, at=station.vault.now + 366 * 86_400, collateral=(), snapshot=b"")
    found = station.sets.read(name, later)
    assert (sorted(found.bundles), found.troubles) == (station.vault.slots, {})
    (item,) = found.coverage.values()
    assert (item.is_complete, item.slots) == (True, tuple(station.vault.slots))


def test_bundles_without_true_evidence_do_not_count(station: Station) -> None:
    """Evidence of another bundle of the same node, none, and a context that was lost: each noted by slot."""
    one, two, three = (station.bundle("node-1") for _ in range(3))
    swapped = replace(one, presentation=two.presentation)
    name = station.sets.write(
        {"node-1": swapped, "node-2": replace(station.bundle("node-2"), presentation=None), "node-3": three},
        station.around,
    )
    found = station.sets.read(name, station.around)
    codes = {slot: error.code for slot, error in found.troubles.items()}
    assert codes == {"node-1": "presentation.nonce", "node-2": "backup.evidence", "node-3": "backup.slot"}
    assert found.bundles == {}
    (station.root / station.vault.roster.cluster_id.hex()[:16] / name / CONTEXT).unlink()
    lost = station.sets.read(name, station.around)
    assert {error.code for error in lost.troubles.values()} == {"backup.not-found"}


def test_a_damaged_file_costs_one_slot(station: Station) -> None:
    """The others still count, and the key is still recoverable."""
    name = station.export()
    path = station.root / station.vault.roster.cluster_id.hex()[:16] / name / "node-2.bundle"
    path.write_bytes(path.read_bytes()[:-100])
    found = station.sets.read(name, station.around)
    assert {slot: error.code for slot, error in found.troubles.items()} == {"node-2": "backup.truncated"}
    (item,) = found.coverage.values()
    assert (item.is_recoverable, item.is_complete) == (True, False)


def test_only_a_complete_newer_set_lets_an_older_one_go(station: Station) -> None:
    """An incomplete newest set removes nothing; a complete one removes all before it."""
    first = station.export()
    station.export("node-1", "node-2")
    assert station.sets.prune(station.around) == []
    third = station.export()
    assert first in station.sets.prune(station.around)
    assert station.sets.names() == [third]


def test_mnemonics_prove_a_set(station: Station) -> None:
    """Three custodians open their slot and every share fits; two, another slot's, and typos are told by slot."""
    found = station.sets.read(station.export(), station.around)
    people = station.files("node-1", "ann", "ben", "cat") + station.files("node-2", "dan", "eve")
    proof = prove(found, people)
    assert proof.opened == {"node-1": 1}
    codes = {slot: error.code for slot, error in proof.troubles.items()}
    assert codes == {"node-2": "backup.mnemonics-too-few", "node-3": "backup.mnemonics-too-few"}
    (item,) = proof.proven.values()
    assert (item.slots, item.is_recoverable) == (("node-1",), False)
    both = prove(found, [*station.files("node-1", "ann", "ben", "cat"), *station.files("node-2", "dan", "eve", "ann")])
    assert [item.is_recoverable for item in both.proven.values()] == [True]


def test_shares_of_two_epochs_are_not_added_up() -> None:
    """Two shares of one certificate and one of a newer one: recoverable at the older epoch, not at the newer."""
    old = Indexed(key="key_a", version=1, epoch=1, shares_needed=2, holders=3, certificate=b"a" * 32)
    new = msgspec.structs.replace(old, epoch=2, certificate=b"b" * 32)
    (item,) = coverage({"node-1": [old], "node-2": [old], "node-3": [new]}).values()
    assert (item.epoch, item.slots, item.is_recoverable) == (1, ("node-1", "node-2"), True)
    (item,) = coverage({"node-1": [old], "node-2": [new]}).values()
    assert (item.epoch, item.is_recoverable) == (2, False)
    other = msgspec.structs.replace(old, certificate=b"c" * 32)
    (item,) = coverage({"node-1": [old], "node-2": [other]}).values()
    assert not item.is_recoverable


def test_a_key_that_the_newer_set_lacks_keeps_the_older(station: Station) -> None:
    """Or one that it holds at an earlier epoch, or not completely."""
    name = station.export()
    older, newer = station.sets.read(name, station.around), station.sets.read(name, station.around)
    assert supersedes(newer, older, station.vault.slots)
    bundle = newer.bundles["node-3"]
    newer.bundles["node-3"] = replace(bundle, closing=msgspec.structs.replace(bundle.closing, index=[]))
    assert not supersedes(newer, older, station.vault.slots)
    assert not supersedes(BundleSet(name="empty"), older, station.vault.slots)
    unread = BundleSet(name="unread", troubles={"node-1": BackupError("cut off", code="backup.truncated")})
    assert not supersedes(older, unread, station.vault.slots)
