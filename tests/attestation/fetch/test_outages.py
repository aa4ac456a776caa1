"""Outages, rate limits and what stands in for a service that is away."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from attestation.fetch.store import LOCK_NAME
from attestation.verdict import Result
from tests.attestation.fetch import vendor
from tests.attestation.fetch.bench import DAY, Bench
from tests.attestation.fetch.vendor import Answer, VendorService
from tests.attestation.world import NOW, World


def test_too_many_requests_is_waited_for_as_asked(bench: Bench, service: VendorService) -> None:
    """429 with Retry-After: one pause at least as long as asked, then the document."""
    service.first(vendor.TCB_INFO, Answer(status=429, headers={"Retry-After": "7"}))
    assert bench.fetch(service).errors == []
    assert len(bench.waits) == 1
    assert 7.0 <= bench.waits[0] <= 10.5


def test_retry_after_as_a_date(bench: Bench, service: VendorService) -> None:
    """The other form of Retry-After counts from this machine's clock."""
    moment = format_datetime(datetime.fromtimestamp(NOW + 20, UTC), usegmt=True)
    service.first(vendor.TCB_INFO, Answer(status=503, headers={"Retry-After": moment}))
    bench.fetch(service)
    assert 20.0 <= bench.waits[0] <= 30.0


@pytest.mark.parametrize("asked", ["999999999", "9" * 40, "soon", "-5", ""])
def test_a_server_cannot_make_us_wait_for_ever(bench: Bench, service: VendorService, asked: str) -> None:
    """Absurd or malformed Retry-After is bounded."""
    service.first(vendor.TCB_INFO, Answer(status=429, headers={"Retry-After": asked}))
    bench.fetch(service)
    assert bench.waits
    assert max(bench.waits) <= 90.0


def test_pauses_grow_and_differ(bench: Bench, service: VendorService) -> None:
    """Round after round the pause doubles, with jitter, and the run ends after the last."""
    service.every(Answer(status=500))
    report = bench.fetch(service, attempts=4)
    assert [error.code for error in report.errors] == ["fetch.busy"]
    assert service.requests == [vendor.ROOT_CRL] * 4
    assert [low <= wait <= 1.5 * low for low, wait in zip((1.0, 2.0, 4.0), bench.waits, strict=True)] == [True] * 3


def test_the_second_endpoint_stands_in_at_once(bench: Bench, service: VendorService, mirror: VendorService) -> None:
    """An endpoint that fails is followed by the next one without a pause."""
    service.every(Answer(status=503))
    assert bench.fetch(service, mirror).errors == []
    assert bench.waits == []


def test_nobody_answers(bench: Bench, service: VendorService) -> None:
    """With nobody listening the run says so, and leaves no file behind."""
    service.close()
    report = bench.fetch(service)
    assert [error.code for error in report.errors] == ["fetch.network"]
    assert [path.name for path in bench.directory.iterdir()] == [LOCK_NAME]


def test_held_documents_outlast_an_outage(bench: Bench, service: VendorService, world: World) -> None:
    """What is held and still in force stays usable while every endpoint is down."""
    bench.fetch(service)
    service.every(Answer(status=500))
    report = bench.fetch(service)
    assert report.errors == []
    assert bench.outcomes(report) == ["kept"] * 4
    assert bench.verdict(world.tdx()) is Result.TRUSTED


def test_held_documents_do_not_outlast_their_time(bench: Bench, service: VendorService) -> None:
    """After its next update a held document is no stand-in any more."""
    bench.fetch(service)
    service.every(Answer(status=500))
    assert [error.code for error in bench.fetch(service, now=NOW + 40 * DAY).errors] == ["fetch.busy"]


def test_one_missing_document_leaves_the_old_set(bench: Bench, world: World, service: VendorService) -> None:
    """If the last of four documents is refused, the file with the old four stays as it is."""
    bench.fetch(service)
    before = bench.held().digest
    later = VendorService(world, now=NOW + 35 * DAY)
    later.only(vendor.IDENTITY, Answer(status=404))
    try:
        report = bench.fetch(later, now=NOW + 35 * DAY)
    finally:
        later.close()
    assert [error.code for error in report.errors] == ["fetch.not-found"]
    assert bench.held().digest == before
