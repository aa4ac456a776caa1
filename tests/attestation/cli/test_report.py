"""`attest report` as transcripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attestation.cli import main
from attestation.proof_of_cloud.registry import Registry
from tests.attestation.cli.test_release import statement
from tests.attestation.report.reading import read
from tests.attestation.world import NOW, World


@pytest.fixture
def files(world: World, tmp_path: Path) -> Path:
    """Evidence of every kind, collateral and roots as files."""
    for name in ("tdx", "sgx", "snp", "nitro"):
        (tmp_path / name).write_bytes(getattr(world, name)())
    (tmp_path / "collateral.json").write_bytes(world.collateral().to_bundle())
    for number, root in enumerate(world.roots):
        (tmp_path / f"root-{number}.der").write_bytes(root)
    return tmp_path


def report(files: Path, *arguments: str | Path) -> Result:
    """`attest report` under the simulated roots at the world's time."""
    roots = [part for path in sorted(files.glob("root-*.der")) for part in ("--root", path)]
    options = ["--html", files / "out.html", "--at", str(NOW), *roots, *arguments]
    return CliRunner().invoke(main, ["report", *map(str, options)])


def test_all_trusted(files: Path) -> None:
    """Four platforms, one page, exit code 0, one line each."""
    kinds = ("tdx", "sgx", "snp", "nitro")
    result = report(files, *(files / name for name in kinds), "--collateral", files / "collateral.json")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [f"{'trusted':<13} {name}" for name in kinds]
    page = read((files / "out.html").read_text())
    assert [section.all("h2")[0].text for section in page.all("section")] == list(kinds)
    assert len(page.all("svg")) == 4
    assert "no hardware vendor vouches" in page.all("p", "warning")[0].text


def test_one_refused(files: Path) -> None:
    """One refused piece of evidence: exit code 1, the others still shown."""
    (files / "junk").write_bytes(b"junk")
    result = report(files, files / "tdx", files / "junk", "--collateral", files / "collateral.json")
    assert result.exit_code == 1
    assert read((files / "out.html").read_text()).all("title")[0].text.startswith("NOT TRUSTED")


def test_cannot_tell(files: Path) -> None:
    """Without collateral: exit code 3."""
    assert report(files, files / "tdx").exit_code == 3


def test_places_from_a_registry(files: Path, world: World, tmp_path: Path) -> None:
    """A listed machine stands in its provider's box, an unlisted one apart, refused."""
    registry = Registry.development(tmp_path / "registry", now=NOW)
    registry.propose([statement(world.intel.platform_id.commitment.hex())], NOW)
    (files / "snapshot").write_bytes(registry.snapshot().encode())
    (files / "registry.json").write_bytes(registry.config.encode())
    options = ("--registry", files / "snapshot", "--registry-config", files / "registry.json")
    result = report(files, files / "tdx", files / "snp", "--collateral", files / "collateral.json", *options)
    assert result.exit_code == 1
    page = read((files / "out.html").read_text())
    placed, unplaced = page.all("li", "provider")
    assert (placed.texts[0], placed.all("li", "node")[0].texts[0]) == ("example-cloud", "tdx")
    assert (unplaced.texts[0], unplaced.all("li", "node")[0].texts[0]) == ("no known place", "snp")


def test_an_unwritable_page(files: Path) -> None:
    """A page that cannot be written is exit code 2."""
    result = report(files, files / "tdx", "--html", files / "absent" / "out.html")
    assert result.exit_code == 2
