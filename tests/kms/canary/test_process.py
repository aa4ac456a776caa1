"""What the kernel is asked to keep from others: no core file, no foreign reader, no arena in a core taken by force."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kms.canary.scan import Scanner

NOBODY = 65534
"""A user without rights."""

CHILD = """
import ctypes, os, sys
import enclave.hygiene, enclave.secret
if {user}:
    os.setgid({user})
    os.setuid({user})
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of user has made it undumpable
{harden}
from enclave.secret import Secret
secret = Secret.random()
leaked = bytes(secret.view) if {leaks} else None
os.write(1, secret.view)
sys.stdin.read(1)
"""
HARDEN = "from enclave.hygiene import harden_process\nharden_process()"

CORES_HERE = Path("/proc/sys/kernel/core_pattern").read_text().strip() in ("core", "core.%p")
"""Whether the kernel writes core files into the working directory."""


def start(
    directory: Path, *, hardened: bool, leaks: bool = False, user: int = 0
) -> tuple[subprocess.Popen[bytes], bytes]:
    """A process with one secret that may write core files as far as it does not forbid them itself."""

    def allow_cores() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(harden=HARDEN if hardened else "", leaks=leaks, user=user)],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=allow_cores,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
    )
    assert process.stdout is not None
    secret = process.stdout.read(32)
    assert len(secret) == 32
    return process, secret


def crash(process: subprocess.Popen[bytes]) -> bool:
    """End a process by SIGSEGV; whether the kernel says that it wrote a core file."""
    process.send_signal(signal.SIGSEGV)
    _, status = os.waitpid(process.pid, 0)
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()
    process.returncode = -signal.SIGSEGV
    assert os.WIFSIGNALED(status)
    return os.WCOREDUMP(status)


def test_a_crashing_node_leaves_no_core_file(tmp_path: Path) -> None:
    """A process hardened as a node leaves none, under limits and in a directory where another process leaves one."""
    process, _ = start(tmp_path, hardened=True)
    assert not crash(process)
    assert list(tmp_path.iterdir()) == []
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 or not CORES_HERE:
        pytest.skip("this machine writes no core files here, so there is nothing to compare with")
    process, _ = start(tmp_path, hardened=False)
    assert crash(process)
    assert list(tmp_path.iterdir()) != []


@pytest.mark.parametrize("leaks", [False, True])
def test_a_core_file_taken_by_force_has_no_arena(tmp_path: Path, leaks: bool) -> None:
    """Without the hardening the kernel leaves the arena out all the same, but not a copy made outside."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 or not CORES_HERE:
        pytest.skip("this machine writes no core files here")
    process, secret = start(tmp_path, hardened=False, leaks=leaks)
    assert crash(process)
    (core,) = tmp_path.iterdir()
    assert core.stat().st_size > 1 << 20
    assert bool(Scanner([secret]).find_in_file(core)) == leaks


def test_a_debugger_with_every_right_gets_no_arena(tmp_path: Path) -> None:
    """gcore of a hardened process, taken by root: everything but the arena is in it."""
    gcore = shutil.which("gcore")
    if gcore is None or os.geteuid() != 0:
        pytest.skip("needs gcore (gdb) and root")
    for leaks in (False, True):
        process, secret = start(tmp_path, hardened=True, leaks=leaks)
        try:
            out = tmp_path / f"forced-{leaks}"
            done = subprocess.run(
                [gcore, "-o", str(out), str(process.pid)], capture_output=True, text=True, timeout=60, check=False
            )
            core = Path(f"{out}.{process.pid}")
            if not core.exists():
                pytest.skip(f"gcore may not attach here: {done.stderr[-200:]}")
            assert bool(Scanner([secret]).find_in_file(core)) == leaks
        finally:
            process.communicate(b"x")


def may_read(pid: int, user: int) -> bool:
    """Whether a process of `user` may open another's memory."""
    reader = os.fork()
    if reader == 0:
        status = 2
        try:
            os.setgid(user)
            os.setuid(user)
            os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
            status = 0
        except PermissionError:
            status = 1
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1])
    assert code in (0, 1)
    return code == 0


@pytest.mark.parametrize("hardened", [True, False])
def test_only_root_may_read_a_hardened_process(tmp_path: Path, hardened: bool) -> None:
    """/proc/<pid>/mem is closed to other users, and after the hardening to the process's own user as well."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become users without rights")
    process, _ = start(tmp_path, hardened=hardened, user=NOBODY)
    try:
        assert not may_read(process.pid, NOBODY - 1)
        assert may_read(process.pid, NOBODY) != hardened
    finally:
        process.communicate(b"x")
