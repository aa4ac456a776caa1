"""Process settings that keep secrets out of dumps, debuggers and unseeded generators; called once at node start.

Each setting is read back: a node that cannot have it does not start (specs/secret-memory.md).
"""

from __future__ import annotations

import ctypes
import os
import resource
from dataclasses import dataclass

from enclave.errors import EnclaveError

_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Hygiene:
    """What was put in force, for the node's start-up record."""

    dumpable: bool
    core_bytes_max: int
    locked_bytes_max: int


def harden_process() -> Hygiene:
    """Refuses core dumps and debuggers, lifts the memory-lock limit, waits for a seeded generator.

    Raises EnclaveError (`process.hygiene`) if a setting does not take.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 or libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise _refused("the process stays dumpable")
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _refused("the process may still gain privileges")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        raise _refused("core files are still allowed")
    await_entropy()
    return Hygiene(dumpable=False, core_bytes_max=0, locked_bytes_max=lift_memory_lock_limit())


def lift_memory_lock_limit() -> int:
    """Raises the soft limit of locked memory to the hard one; returns it in bytes (-1: no limit)."""
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    return hard


def await_entropy() -> None:
    """Blocks until the kernel's generator is seeded; it never blocks again after that."""
    if len(os.getrandom(1)) != 1:
        raise _refused("the kernel's random generator gives nothing")


def _refused(detail: str) -> EnclaveError:
    return EnclaveError(detail, code="process.hygiene", hint="the node needs prctl and setrlimit: check its sandbox")
