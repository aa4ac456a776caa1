"""The steps of the Dockerfile, run by hand in a clean directory, since no container engine is needed for them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def stage_commands(stage: str) -> list[str]:
    """The RUN commands of one stage of the Dockerfile, continuation lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    commands, current = [], ""
    for line in text.splitlines():
        if match := re.match(r"FROM \S+(?: AS (\S+))?", line):
            current = match.group(1) or ""
        elif line.startswith("RUN ") and current == stage:
            commands.append(line[4:])
    return commands


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory where the build stage has run: sources copied as the Dockerfile copies them, wheel built."""
    base = tmp_path_factory.mktemp("image")
    source = base / "src"
    source.mkdir()
    for name in ("requirements", "attestation", "enclave", "kms"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for command in stage_commands("build"):
        run(command, base)
    assert list((base / "wheel").glob("*.whl"))
    return base


def run(command: str, base: Path, *, environment: dict[str, str] | None = None) -> str:
    """Run one Dockerfile command with the image's absolute paths moved under `base`."""
    for absolute in ("/opt/holdfast", "/build", "/wheel", "/src"):
        command = re.sub(rf"(?<![\w/.]){absolute}(?![\w])", str(base) + absolute, command)
    command = re.sub(r"(?<![\w/-])python -m venv", f"{sys.executable} -m venv", command)
    variables = {"BASE": "python@sha256:0", "PATH": os.environ["PATH"], "HOME": str(base), **(environment or {})}
    variables |= {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    result = subprocess.run(
        ["bash", "-euc", command], cwd=base / "src", env=variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_a_base_image_without_digest_is_refused(tmp_path: Path) -> None:
    """The first command of the build stage stops when BASE carries no digest."""
    (tmp_path / "src").mkdir()
    with pytest.raises(AssertionError, match="must carry a digest"):
        run(stage_commands("build")[0], tmp_path, environment={"BASE": "python:3.11-slim"})


@pytest.mark.parametrize(("target", "command"), [("node", "kms-node"), ("gateway", "kms")])
def test_image_environment(image: Path, target: str, command: str) -> None:
    """The target's environment runs its command and holds neither the simulated authority nor the developer cluster."""
    shutil.rmtree(image / "opt", ignore_errors=True)
    for line in stage_commands(f"{target}-environment"):
        run(line, image)
    environment = image / "opt" / "holdfast"
    result = subprocess.run([environment / "bin" / command, "--help"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout
    (packages,) = environment.glob("lib/python3*/site-packages")
    assert not (packages / "attestation" / "simulated").exists()
    assert not (packages / "kms" / "dev").exists()
    assert (packages / "kms").exists() is (target == "gateway")
    assert not (packages / "pytest").exists()
