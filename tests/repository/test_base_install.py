"""The auditor's install: a clean environment with the base requirements alone verifies every kind of evidence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attestation import shared_vectors as shared
from tests.attestation.world import NOW, World, world

__all__ = ["world"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"cffi", "click", "cryptography", "holdfast-kms", "markdown-it-py", "mdurl", "pip", "pycparser", "pygments",
            "pyjwt", "rich", "setuptools"}  # fmt: skip
"""Everything the base install may consist of, what virtual environments bring included."""


@pytest.fixture(scope="module")
def install(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with requirements/base.txt and the wheel, and nothing else."""
    base = tmp_path_factory.mktemp("base")
    source = base / "src"
    source.mkdir()
    for name in ("attestation", "enclave", "kms"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    wheels = base / "wheel"
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], cwd=source)
    environment = base / "venv"
    run([sys.executable, "-m", "venv", str(environment)], cwd=base)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "requirements" / "base.txt")], cwd=base)
    run([*pip, "--no-deps", "--no-index", *map(str, wheels.glob("*.whl"))], cwd=base)
    return environment


def run(command: list[str], cwd: Path) -> str:
    """Run a command that has to succeed; its standard output."""
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME") or key.startswith("PIP_")}
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def attest(install: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`attest` as installed, with no other environment than a path."""
    command = [str(install / "bin" / "attest"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)


@pytest.fixture
def files(world: World, tmp_path: Path) -> Path:
    """Simulated evidence of every kind with its collateral and roots."""
    for kind in ("tdx", "sgx", "snp", "nitro"):
        (tmp_path / kind).write_bytes(getattr(world, kind)())
    (tmp_path / "collateral.json").write_bytes(world.collateral().to_bundle())
    for number, root in enumerate(world.roots):
        (tmp_path / f"root-{number}.der").write_bytes(root)
    return tmp_path


def test_nothing_but_the_base_requirements(install: Path) -> None:
    """The environment holds the listed packages and no other, and nothing simulated."""
    listed = run([str(install / "bin" / "python"), "-m", "pip", "list", "--format", "json"], cwd=install)
    assert {package["name"].lower().replace("_", "-") for package in json.loads(listed)} <= PACKAGES
    (packages,) = install.glob("lib/python3*/site-packages")
    assert not (packages / "attestation" / "simulated").exists()


@pytest.mark.parametrize("kind", ["tdx", "sgx", "snp", "nitro"])
def test_simulated_evidence(install: Path, files: Path, kind: str) -> None:
    """Each platform's evidence is trusted under its named root, and refused under the pinned ones."""
    roots = [part for path in sorted(files.glob("root-*.der")) for part in ("--root", path)]
    options = ("--collateral", "collateral.json", "--at", str(NOW), "--json")
    trusted = attest(install, "verify", kind, *options, *roots, cwd=files)
    assert trusted.returncode == 0, trusted.stdout + trusted.stderr
    assert json.loads(trusted.stdout)["result"] == "trusted"
    refused = attest(install, "verify", kind, *options, cwd=files)
    assert (refused.returncode, json.loads(refused.stdout)["reasons"]) == (1, ["certificate.root"])


@shared.NEEDED
@pytest.mark.parametrize(
    "evidence", ["tdx4-near-b9e238b2", "snp-genoa-v5-vcek-lunal-8fd94192", "nitro-dstack-20251225-5e983e0b"]
)
def test_genuine_evidence(install: Path, tmp_path: Path, evidence: str) -> None:
    """A vendor's evidence is trusted under the pinned roots with the production policy."""
    entry = next((item for item in shared.manifest()["entries"] if item["id"] == evidence), None)
    if entry is None:
        pytest.skip(f"{evidence} is not in the shared folder")
    if evidence.startswith("tdx"):
        checked = entry["verifications"][0]
        options: tuple[str | Path, ...] = ("--collateral", shared.ROOT / checked["bundle"], "--at", checked["now_used"])
    elif evidence.startswith("snp"):
        options = ("--collateral", shared.ROOT / "amd", "--at", "2026-07-15T00:00:00Z")
    else:
        options = ("--at", str(shared.unix(entry["verification"]["now_used"])))
    result = attest(install, "verify", shared.ROOT / entry["file"], *options, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    value = json.loads(result.stdout)
    assert (value["result"], value["root"]) == ("trusted", {"tdx": "intel", "snp": "amd", "nit": "aws"}[evidence[:3]])


def test_every_verb_loads(install: Path, files: Path) -> None:
    """Each verb explains itself; a page is written; `cluster` says what it would need."""
    for verb in ("verify", "inspect", "report", "fetch", "bundle", "release", "receipt", "log", "registry"):
        result = attest(install, verb, "--help", cwd=files)
        assert (result.returncode, result.stdout.startswith("Usage")) == (0, True), result.stderr
    written = attest(install, "report", "--html", "out.html", "nitro", cwd=files)
    assert (written.returncode, (files / "out.html").exists()) == (1, True)
    cluster = attest(install, "cluster", "https://gateway.example", "--json", cwd=files)
    assert (cluster.returncode, "`client` extra" in cluster.stderr) == (2, True)
