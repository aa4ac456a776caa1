"""`attest fetch` and `attest bundle` as transcripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attestation.cli import main
from attestation.cli.fetch import ENDPOINTS_VARIABLE
from tests.attestation.fetch import vendor
from tests.attestation.fetch.vendor import Answer, VendorService
from tests.attestation.world import NOW, World


@pytest.fixture
def service(world: World) -> Iterator[VendorService]:
    """A vendor service that behaves."""
    running = VendorService(world)
    yield running
    running.close()


@pytest.fixture
def files(world: World, tmp_path: Path) -> Path:
    """Evidence and roots as files."""
    for name, data in (("quote.bin", world.tdx()), ("report.bin", world.snp()), ("document.cbor", world.nitro())):
        (tmp_path / name).write_bytes(data)
    for number, root in enumerate(world.roots):
        (tmp_path / f"root-{number}.der").write_bytes(root)
    return tmp_path


def attest(*arguments: str | Path, environment: dict[str, str] | None = None) -> Result:
    """Run the command line."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)


def roots(files: Path) -> list[str | Path]:
    """The options that trust the simulated roots, at the world's time."""
    return [part for path in sorted(files.glob("root-*.der")) for part in ("--root", path)] + ["--at", str(NOW)]


def test_fetch_then_verify(files: Path, service: VendorService) -> None:
    """Three kinds of evidence, one directory, and each is trusted from it."""
    evidence = [files / name for name in ("quote.bin", "report.bin", "document.cbor")]
    result = attest("fetch", *evidence, "--into", files / "c", "--endpoint", service.url, *roots(files))
    assert result.exit_code == 0, result.output
    assert result.stdout.count("new ") == 7
    assert result.stdout.count("ready ") == 2
    assert "document.cbor: a Nitro document carries its whole chain and needs no collateral" in result.stderr
    for file in evidence:
        verdict = attest("verify", file, "--collateral", files / "c", *roots(files))
        assert verdict.exit_code == 0, verdict.output


def test_endpoints_from_the_environment(files: Path, service: VendorService) -> None:
    """Several endpoints in one variable, tried in order."""
    variable = {ENDPOINTS_VARIABLE: f"http://127.0.0.1:9 intel={service.url}"}
    result = attest("fetch", files / "quote.bin", "--into", files / "c", *roots(files), environment=variable)
    assert result.exit_code == 0, result.output
    assert "cannot reach http://127.0.0.1:9" in result.stderr


def test_without_evidence(files: Path, service: VendorService, world: World) -> None:
    """The same sets named by hand."""
    intel = ("--fmspc", world.intel.facts.fmspc.hex())
    amd = ("--product", "Milan", "--chip-id", world.milan.chip_id.hex(), "--tcb", world.milan.levels.encode().hex())
    result = attest("fetch", *intel, *amd, "--into", files / "c", "--endpoint", service.url, "--json", *roots(files))
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [document["outcome"] for document in report["documents"]] == ["new"] * 7
    assert sorted(path.suffix for path in (files / "c").iterdir() if path.name in report["files"]) == [".json", ".pem"]


def test_unavailable(files: Path, service: VendorService) -> None:
    """What cannot be had is exit code 3, with the reason, and the other platform's set is still written."""
    service.only(vendor.IDENTITY, Answer(status=404))
    evidence = (files / "quote.bin", files / "report.bin")
    result = attest("fetch", *evidence, "--into", files / "c", "--endpoint", service.url, *roots(files))
    assert result.exit_code == 3
    assert "error: enclave identity (tdx): no such document (404) [fetch.not-found]" in result.stderr
    assert [path.name.split("-")[0] for path in (files / "c").iterdir() if path.suffix == ".pem"] == ["amd"]
    assert not list((files / "c").glob("intel-*"))


def test_unfit_evidence(files: Path) -> None:
    """Evidence that does not parse is exit code 1."""
    (files / "junk.bin").write_bytes(b"junk")
    result = attest("fetch", files / "junk.bin", "--into", files / "c")
    assert (result.exit_code, "evidence.unknown-format" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--fmspc", "00"),
        ("--chip-id", "00" * 64),
        ("--product", "Milan", "--tcb", "00" * 8),
        ("--product", "Milan", "--chip-id", "00" * 8, "--tcb", "00" * 8),
        ("--product", "Milan", "--chip-id", "00" * 64, "--tcb", "00"),
        ("--product", "Milan", "--endpoint", "ftp://example"),
    ],
)
def test_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """What cannot be meant is exit code 2, before anything is asked."""
    result = attest("fetch", "--into", tmp_path / "c", *arguments)
    assert result.exit_code == 2, result.output
    assert not (tmp_path / "c").exists()


def test_bundle_of_a_directory(files: Path, service: VendorService) -> None:
    """One file from the directory verifies like the directory, and is the same each time."""
    evidence = (files / "quote.bin", files / "report.bin")
    attest("fetch", *evidence, "--into", files / "c", "--endpoint", service.url, *roots(files))
    for name in ("one.json", "two.json"):
        assert attest("bundle", files / "c", "--out", files / name).exit_code == 0
    assert (files / "one.json").read_bytes() == (files / "two.json").read_bytes()
    for file in evidence:
        assert attest("verify", file, "--collateral", files / "one.json", *roots(files)).exit_code == 0


def test_newest_of_a_history(files: Path, world: World) -> None:
    """`--newest` drops what a later document replaced."""
    directory = files / "history"
    directory.mkdir()
    for day in range(3):
        blob = next(blob for blob in world.authority.collateral(NOW + day * 86_400) if blob[:1] == b"{")
        (directory / f"{day}.json").write_bytes(blob)
    everything = attest("bundle", directory, "--out", files / "all.json")
    newest = attest("bundle", directory, "--newest", "--out", files / "new.json")
    assert "12 documents" in everything.stderr
    assert "4 documents" in newest.stderr


def test_bundle_of_nothing_readable(files: Path) -> None:
    """A file that is no collateral is exit code 1."""
    (files / "x.json").write_text("{}")
    result = attest("bundle", files / "x.json")
    assert (result.exit_code, result.stdout) == (1, "")
