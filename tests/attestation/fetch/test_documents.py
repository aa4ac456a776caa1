"""What `attest fetch` asks for, and that evidence verifies from what it stored."""

from __future__ import annotations

from attestation.fetch.subject import AmdSubject, subject_of
from attestation.verdict import Result
from tests.attestation.fetch import vendor
from tests.attestation.fetch.bench import Bench
from tests.attestation.fetch.vendor import VendorService
from tests.attestation.world import World


def test_everything_a_tdx_quote_needs(bench: Bench, service: VendorService, world: World) -> None:
    """An empty directory becomes one from which the quote verifies, with one request per document."""
    assert not bench.directory.exists()
    report = bench.fetch(service)
    assert report.errors == []
    assert bench.outcomes(report) == ["new"] * 4
    assert bench.verdict(world.tdx()) is Result.TRUSTED
    assert service.requests == [
        vendor.ROOT_CRL,
        f"{vendor.PCK_CRL}?ca=platform&encoding=der",
        f"{vendor.TCB_INFO}?fmspc={world.intel.facts.fmspc.hex().upper()}",
        vendor.IDENTITY,
    ]
    assert report.files == [f"intel-tdx-{world.intel.facts.fmspc.hex()}-platform.json"]


def test_everything_an_sgx_quote_needs(bench: Bench, service: VendorService, world: World) -> None:
    """The SGX documents come from their own paths."""
    assert bench.fetch(service, evidence=world.sgx()).errors == []
    assert bench.verdict(world.sgx()) is Result.TRUSTED
    assert "/sgx/certification/v4/qe/identity" in service.requests


def test_everything_a_report_needs(bench: Bench, service: VendorService, world: World) -> None:
    """Chain, list and the chip's own certificate, by the key service's path and query."""
    report = bench.fetch(service, evidence=world.snp())
    assert report.errors == []
    assert bench.verdict(world.snp()) is Result.TRUSTED
    levels = "blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=220"
    assert service.requests == [vendor.CHAIN, vendor.AMD_CRL, f"{vendor.vcek_path(world)}?{levels}"]


def test_a_report_that_does_not_name_its_product(bench: Bench, service: VendorService, world: World) -> None:
    """A version 2 report carries no CPUID: the products whose roots are trusted are tried in turn."""
    report = world.milan.report(bytes(64), measurement=bytes([1]) * 48, version=2)
    subject = subject_of(report)
    assert isinstance(subject, AmdSubject)
    assert subject.products == ("Milan", "Genoa")
    assert bench.fetch(service, evidence=report).errors == []
    assert bench.verdict(report) is Result.TRUSTED


def test_nitro_needs_nothing(world: World) -> None:
    """A document that carries its chain has no subject."""
    assert subject_of(world.nitro()) is None


def test_turin_s_path() -> None:
    """Turin has eight significant bytes of chip id and one more level."""
    tcb = bytes([1, 3, 2, 5, 0, 0, 0, 0x61])
    subject = AmdSubject(products=("Turin",), kind="vcek", chip_id=bytes(range(8)) + bytes(56), reported_tcb=tcb)
    assert subject.vcek_path("Turin") == (
        "/vcek/v1/Turin/0001020304050607?fmcSPL=01&blSPL=03&teeSPL=02&snpSPL=05&ucodeSPL=97"
    )


def test_a_vlek_report_gets_chain_and_list_only(world: World) -> None:
    """A provider's key is not handed out by the vendor: its chain and list are."""
    vlek = world.authority.amd.platform("vlek-1", masked=True)
    subject = subject_of(vlek.report(bytes(64), measurement=bytes([1]) * 48))
    assert isinstance(subject, AmdSubject)
    assert (subject.kind, subject.vcek_path("Milan"), subject.file_name("Milan")) == (
        "vlek",
        None,
        "amd-milan-vlek.pem",
    )


def test_a_second_run_finds_everything_unchanged(bench: Bench, service: VendorService, world: World) -> None:
    """Equal documents leave the file as it is; a chip's certificate is not even asked for again."""
    for evidence in (world.tdx(), world.snp()):
        first = bench.fetch(service, evidence=evidence)
        before = (bench.directory / first.files[0]).stat().st_mtime_ns
        again = bench.fetch(service, evidence=evidence)
        assert set(bench.outcomes(again)) == {"unchanged"}
        assert (bench.directory / first.files[0]).stat().st_mtime_ns == before
    assert service.asked(vendor.vcek_path(world)) == 1
