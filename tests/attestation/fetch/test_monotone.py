"""Newer documents replace older ones, never the other way round."""

from __future__ import annotations

from attestation.simulated.certificates import revocation_list
from attestation.simulated.tcb import TcbClaims
from tests.attestation.fetch import vendor
from tests.attestation.fetch.bench import DAY, Bench
from tests.attestation.fetch.vendor import Answer, VendorService
from tests.attestation.world import NOW, World


def test_newer_documents_replace_older_ones(bench: Bench, world: World, service: VendorService) -> None:
    """A day later the directory holds the newer set."""
    bench.fetch(service)
    later = VendorService(world, now=NOW + DAY)
    try:
        assert bench.outcomes(bench.fetch(later, now=NOW + DAY)) == ["new"] * 4
    finally:
        later.close()
    assert {item.crl.this_update for item in bench.held().crls} == {NOW + DAY - 60}


def test_row_51_older_documents_never_replace_newer_ones(bench: Bench, world: World, service: VendorService) -> None:
    """Row 51: a mirror that is behind changes nothing, although its documents are still in force."""
    later = VendorService(world, now=NOW + DAY)
    try:
        bench.fetch(later, now=NOW + DAY)
    finally:
        later.close()
    before = bench.held()
    report = bench.fetch(service, now=NOW + DAY)
    assert bench.outcomes(report) == ["kept"] * 4
    assert {note.reason for note in report.notes} == {"the endpoint is behind what is held"}
    assert bench.held().digest == before.digest


def test_the_next_endpoint_when_the_first_is_behind(bench: Bench, world: World, service: VendorService) -> None:
    """Behind is as good as unavailable: the second endpoint's newer documents are taken."""
    bench.fetch(service)
    later = VendorService(world, now=NOW + 2 * DAY)
    stale = VendorService(world, now=NOW - DAY)
    try:
        report = bench.fetch(stale, later, now=NOW + 2 * DAY)
        assert bench.outcomes(report) == ["new"] * 4
    finally:
        later.close()
        stale.close()


def test_a_higher_evaluation_number_is_newer(bench: Bench, world: World, service: VendorService) -> None:
    """Issue date first, then evaluation number: 21 replaces 20, and 20 does not come back."""
    bench.fetch(service)
    other = VendorService(world, claims=TcbClaims(evaluation=21))
    try:
        assert bench.outcomes(bench.fetch(other))[2:] == ["new", "new"]
        assert bench.outcomes(bench.fetch(service))[2:] == ["kept", "kept"]
    finally:
        other.close()
    assert {item.info.evaluation for item in bench.held().tcb_infos} == {21}


def test_row_59_a_list_that_shrinks_is_taken_and_told(bench: Bench, world: World, service: VendorService) -> None:
    """Row 59: vendors have removed entries, so the newer list counts, and an alarm names how many are gone."""
    authority = world.authority
    full = revocation_list(authority.platform_ca, (101, 102, 103), issued_at=NOW - 3600)
    chain = service.answers[vendor.PCK_CRL][0].headers
    service.only(vendor.PCK_CRL, Answer(body=full, headers=chain))
    assert bench.fetch(service).alarms == []
    less = revocation_list(authority.platform_ca, (101, 104), issued_at=NOW - 60)
    service.only(vendor.PCK_CRL, Answer(body=less, headers=chain))
    report = bench.fetch(service)
    assert bench.outcomes(report)[1] == "new"
    assert report.alarms == ["PCK CRL (platform): 2 of 3 entries are no longer listed (2 now)"]


def test_row_107_a_clock_set_back_stops_everything(bench: Bench, world: World, service: VendorService) -> None:
    """Row 107: a held document from the future means the clock is wrong; nothing is asked and nothing changes."""
    bench.fetch(service)
    before, asked = bench.held().digest, len(service.requests)
    report = bench.fetch(service, now=NOW - DAY)
    assert [error.code for error in report.errors] == ["fetch.clock"]
    assert (bench.held().digest, len(service.requests)) == (before, asked)
