"""Every command of the README runs as it stands: the server in the background, the rest in one shell."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```(sh[ \w]*|python)\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())
PORT = 8750
GATEWAY = f"http://127.0.0.1:{PORT}/readyz"
READY_S = 60


def blocks(kind: str) -> list[str]:
    """The code blocks of one kind, in order."""
    return [text for name, text in BLOCKS if name.strip() == kind]


def environment(home: Path) -> dict[str, str]:
    """A clean environment whose `make setup` and `activate` are already done: this test runs inside them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return {**kept, "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def shell(text: str) -> str:
    """The commands of a block, without the two that prepare the virtual environment."""
    lines = [line for line in text.splitlines() if line not in ("make setup", "source .venv/bin/activate")]
    return "set -euo pipefail\n" + "\n".join(lines)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The server block running, with its own home directory."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.skip(f"another program listens on port {PORT}, which the README's commands use")
    home = tmp_path_factory.mktemp("home")
    (server,) = blocks("sh server")
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", "exec " + shell(server).splitlines()[-1]],
            cwd=home,
            env=environment(home),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_ready(process, home / "server.log")
        yield home
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def wait_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the cluster says that it is ready for its first command."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        if "ready in" in log.read_text():
            with urllib.request.urlopen(GATEWAY, timeout=5) as answer:
                assert answer.status == 200
            return
        time.sleep(0.2)
    pytest.fail(log.read_text())


@pytest.mark.cluster
def test_demo_command() -> None:
    """The first command ends with `demo: ok`."""
    (command,) = blocks("sh demo")
    make = shutil.which("make")
    assert make is not None
    # Under `make test` an inner make would announce its directory; a user's first make does not.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    result = subprocess.run(
        ["bash", "-euc", command], cwd=ROOT, env=outside, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "demo: ok"


@pytest.mark.cluster
def test_commands_of_the_three_kinds_of_user(cluster: Path) -> None:
    """Agents', operators' and auditors' commands run in order in one shell against the server block."""
    script = "\n".join(shell(text) for text in blocks("sh"))
    result = subprocess.run(
        ["bash", "-c", script], cwd=cluster, env=environment(cluster), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "my secret" in result.stdout
    assert '"ed25519":' in result.stdout


@pytest.mark.cluster
def test_python_example(cluster: Path) -> None:
    """The Python example prints an address and a signature."""
    (code,) = blocks("python")
    prepare = "KEY=$(kms keys create example --usage solana --quiet)"
    subprocess.run(["bash", "-euc", prepare], cwd=cluster, env=environment(cluster), check=True)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cluster, env=environment(cluster), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "node-" in result.stdout
