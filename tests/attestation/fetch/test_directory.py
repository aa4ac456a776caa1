"""One run at a time, and files that are whole or not there."""

from __future__ import annotations

import threading

import pytest

from attestation.evidence import Tee
from attestation.fetch.endpoints import parse_endpoints
from attestation.fetch.run import Report, fetch_all
from attestation.fetch.source import Source
from attestation.fetch.store import CollateralDirectory
from attestation.fetch.subject import IntelSubject, subject_of
from attestation.roots import Roots
from attestation.verdict import Result
from tests.attestation.fetch import vendor
from tests.attestation.fetch.bench import Bench
from tests.attestation.fetch.vendor import Answer, VendorService
from tests.attestation.world import NOW, World


def test_single_flight(bench: Bench, service: VendorService, world: World) -> None:
    """Four runs at once: one asks, the others take what it wrote."""
    service.first(vendor.ROOT_CRL, Answer(status=503))  # the first run pauses, so that the others really wait
    reports: list[Report] = []
    start = threading.Barrier(4)

    def run() -> None:
        mine = Bench(world, bench.directory)
        start.wait(5)
        reports.append(mine.fetch(service))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [report.errors for report in reports] == [[]] * 4
    assert service.asked(vendor.IDENTITY) == 1
    assert sum(bool(report.shared) for report in reports) == 3


def test_two_platforms_share_what_is_common(bench: Bench, service: VendorService, world: World) -> None:
    """Within one run a document two platforms need is asked for once."""
    subjects = [subject for subject in map(subject_of, (world.tdx(), world.sgx())) if subject is not None]
    source = Source(endpoints=parse_endpoints([service.url]), attempts=1)
    directory = CollateralDirectory(bench.directory)
    report = fetch_all(subjects, directory, source, roots=Roots.of(world.roots), now=lambda: NOW)
    assert (len(report.files), report.errors) == (2, [])
    assert service.asked(vendor.ROOT_CRL) == service.asked(vendor.PCK_CRL) == 1


def test_a_reader_sees_whole_files_only(bench: Bench, world: World) -> None:
    """While documents are replaced again and again, every read finds a complete, verifying set."""
    services = [VendorService(world, now=NOW + number * 60) for number in range(6)]
    bench.fetch(services[0], now=NOW + 3600)
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            seen.append(bench.verdict(world.tdx(), NOW + 3600))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for service in services[1:]:
            assert "new" in bench.outcomes(bench.fetch(service, now=NOW + 3600))
    finally:
        stop.set()
        reader.join(20)
        for service in services:
            service.close()
    assert seen
    assert set(seen) == {Result.TRUSTED}


def test_a_full_disk_leaves_the_old_file(bench: Bench, service: VendorService, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the new file cannot be flushed, the old one stays and no fragment is left."""
    directory = CollateralDirectory(bench.directory)
    bench.fetch(service)
    before = sorted((path.name, path.read_bytes()) for path in bench.directory.iterdir())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("attestation.fetch.store.os.fsync", full)
    with pytest.raises(Exception, match="No space left on device"):
        directory.write(before[1][0], b"new")
    assert sorted((path.name, path.read_bytes()) for path in bench.directory.iterdir()) == before


def test_subjects_of_evidence(world: World) -> None:
    """What a quote says about its platform is what is asked for."""
    assert subject_of(world.tdx()) == IntelSubject(tee=Tee.TDX, fmspc=world.intel.facts.fmspc, authority="platform")
