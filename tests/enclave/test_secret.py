"""The arena and the `Secret` handle: nothing leaks by habit, everything is wiped, memory is locked and undumpable."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enclave import secret as module
from enclave.derive import hkdf_sha256, sha256, sha512
from enclave.errors import SecretLeakError
from enclave.secret import ARENA_BYTES, SECRET_BYTES_MAX, Secret, declassify

LEAKS: dict[str, Callable[[Any], object]] = {
    "==": lambda s: s == s,
    "!=": lambda s: s != b"x",
    "<": lambda s: s < s,
    "hash": hash,
    "set": lambda s: {s},
    "bytes": bytes,
    "bytearray": bytearray,
    "int": int,
    "index": lambda s: [0][s],
    "float": float,
    "complex": complex,
    "bool": bool,
    "if": lambda s: 1 if s else 0,
    "len": len,
    "iter": iter,
    "list": list,
    "reversed": reversed,
    "getitem": lambda s: s[0],
    "slice": lambda s: s[0:4],
    "in": lambda s: 0 in s,
    "format": lambda s: f"{s}",
    "str.format": lambda s: f"{s:x}",
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS.keys())
def test_leaky_operations_raise(leak: Callable[[Any], object]) -> None:
    """Comparing, converting, iterating, formatting, copying and pickling a secret raise SecretLeakError."""
    with Secret.random() as secret, pytest.raises(SecretLeakError):
        leak(secret)


def test_representation_says_nothing() -> None:
    """repr and str are the same constant for every secret."""
    secret = Secret.take(bytearray(b"A" * 32))
    assert repr(secret) == str(secret) == "%s" % secret == "<Secret>"  # noqa: UP031 - the logging style is meant
    assert repr(Secret.zero(64)) == "<Secret>"


def test_no_attributes_can_be_added() -> None:
    """A secret has fixed slots: nothing can be hung on it."""
    with pytest.raises((AttributeError, SecretLeakError)):
        Secret.zero(32).note = "x"  # type: ignore[attr-defined]


def test_take_moves_and_zeroes_the_source() -> None:
    """The bytes arrive and the source is zero afterwards, for bytearrays and memoryviews."""
    source = bytearray(range(1, 33))
    assert declassify(Secret.take(source)) == bytes(range(1, 33))
    assert source == bytearray(32)
    source = bytearray(b"keep" + b"move" * 8)
    assert declassify(Secret.take(memoryview(source)[4:])) == b"move" * 8
    assert source == bytearray(b"keep" + bytes(32))


def test_take_refuses_what_it_cannot_zero() -> None:
    """Immutable bytes are refused: their copy could never be erased."""
    with pytest.raises((BufferError, TypeError, ValueError)):
        Secret.take(b"x" * 32)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 96, 1024, SECRET_BYTES_MAX])
def test_sizes_are_kept_exactly(size: int) -> None:
    """Any size up to an arena is held to the byte, and random ones are not zero."""
    data = os.urandom(size)
    held = Secret.take(bytearray(data))
    assert held.size == size
    assert declassify(held) == data
    assert bytes(held.view) == data
    if size >= 31:
        assert declassify(Secret.random(size)) != bytes(size)


@pytest.mark.parametrize("size", [0, -1, SECRET_BYTES_MAX + 1])
def test_impossible_sizes_are_refused(size: int) -> None:
    """Zero, negative and larger than an arena raise, and the failed object is collected quietly."""
    with pytest.raises(SecretLeakError) as raised:
        Secret.zero(size)
    assert raised.value.code == "secret.size"
    gc.collect()


@pytest.mark.parametrize("how", ["wipe", "with", "collect"])
def test_slots_are_zeroed_when_released(how: str) -> None:
    """Wiping, leaving `with` and garbage collection each leave zeros where the secret was."""
    secret = Secret.take(bytearray(b"\xa5" * 64))
    spy = module.ffi.buffer(secret.p, 64)
    assert bytes(spy) == b"\xa5" * 64
    if how == "wipe":
        secret.wipe()
    elif how == "with":
        with secret:
            pass
    else:
        del secret
    assert bytes(spy) == bytes(64)


def test_wiped_secrets_cannot_be_used() -> None:
    """After a wipe the pointer, address and view are gone; wiping again does nothing."""
    secret = Secret.random()
    secret.wipe()
    secret.wipe()
    for use in (lambda: secret.p, lambda: secret.address, lambda: secret.view, secret.duplicate):
        with pytest.raises(SecretLeakError) as raised:
            use()
        assert raised.value.code == "secret.wiped"


def test_new_secrets_are_zero_even_after_reuse() -> None:
    """A slot that carried a secret comes back as zeros, also for a larger secret that was only partly written."""
    first = Secret.take(bytearray(b"\xff" * 33))
    address = first.address
    first.wipe()
    second = Secret.zero(64)
    assert second.address == address
    assert declassify(second) == bytes(64)


def test_live_secrets_never_overlap() -> None:
    """Thousands of secrets of mixed sizes keep their own bytes while arenas are added."""
    held = [
        (Secret.take(bytearray([i % 251 + 1]) * size), i % 251 + 1, size) for i in range(1500) for size in (32, 64, 40)
    ]
    assert sum(size for *_, size in held) > 2 * ARENA_BYTES
    for secret, fill, size in held:
        assert declassify(secret) == bytes([fill]) * size


def test_parts_and_duplicates_are_independent() -> None:
    """`part` and `duplicate` copy into slots of their own; ranges outside raise."""
    whole = Secret.take(bytearray(range(64)))
    half, twin = whole.part(32, 32), whole.duplicate()
    whole.wipe()
    assert declassify(half) == bytes(range(32, 64))
    assert declassify(twin) == bytes(range(64))
    for start, size in ((-1, 8), (0, 65), (33, 32), (0, 0)):
        with pytest.raises(SecretLeakError):
            twin.part(start, size)


def test_same_compares_contents_and_sizes() -> None:
    """`same` is true for equal bytes only."""
    a, b = Secret.take(bytearray(b"a" * 32)), Secret.take(bytearray(b"a" * 32))
    assert a.same(b)
    assert not a.same(Secret.take(bytearray(b"a" * 31 + b"b")))
    assert not a.same(Secret.take(bytearray(b"a" * 33)))


def test_threads_never_share_a_slot() -> None:
    """Concurrent allocation and release keep every thread's bytes its own."""
    wrong: list[int] = []

    def work(fill: int) -> None:
        for _ in range(300):
            with Secret.take(bytearray([fill]) * 32) as one, Secret.take(bytearray([fill]) * 96) as two:
                if declassify(one) != bytes([fill]) * 32 or declassify(two) != bytes([fill]) * 96:
                    wrong.append(fill)

    threads = [threading.Thread(target=work, args=(fill,)) for fill in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_child_sees_zeros_and_takes_fresh_arenas() -> None:
    """After fork the child's copy of a secret is zero, and its own new secrets live elsewhere; the parent keeps its."""
    secret = Secret.take(bytearray(b"\x77" * 32))
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        fresh = Secret.take(bytearray(b"\x11" * 32))
        apart = abs(fresh.address - secret.address) >= 32
        os.write(write_end, declassify(secret) + bytes([apart]) + declassify(fresh))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    answer = os.read(read_end, 65)
    os.close(read_end)
    assert answer == bytes(32) + b"\x01" + b"\x11" * 32
    assert declassify(secret) == b"\x77" * 32


def test_arenas_are_locked_undumpable_and_wiped_on_fork() -> None:
    """The kernel reports the arena's pages as locked (lo), not dumped (dd) and wiped on fork (wf)."""
    secret = Secret.random()
    flags: list[str] = []
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head and not head.endswith(":"):
            low, high = (int(part, 16) for part in head.split("-"))
            inside = low <= secret.address < high
        elif inside and head == "VmFlags:":
            flags = line.split()[1:]
    assert {"lo", "dd", "wf"} <= set(flags)


def test_hashing_stays_in_the_arena() -> None:
    """SHA-256, SHA-512 and HKDF of secret and public parts equal the standard functions."""
    import hashlib

    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    key = Secret.take(bytearray(b"k" * 32))
    assert declassify(sha512(b"tag", key, b"")) == hashlib.sha512(b"tag" + b"k" * 32).digest()
    assert declassify(sha256(b"tag", key, b"")) == hashlib.sha256(b"tag" + b"k" * 32).digest()
    expected = HKDF(algorithm=SHA256(), length=48, salt=b"salt", info=b"info").derive(b"k" * 32)
    assert declassify(hkdf_sha256(key, salt=b"salt", info=b"info", size=48)) == expected


def test_hygiene_takes_effect_in_a_fresh_process() -> None:
    """A hardened process is not dumpable and may not write core files."""
    import subprocess
    import sys

    code = (
        "import ctypes, resource\n"
        "from enclave.hygiene import harden_process\n"
        "state = harden_process()\n"
        "assert not state.dumpable\n"
        "assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0\n"
        "assert ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) == 1\n"
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)\n"
        "assert soft == hard == state.locked_bytes_max\n"
        "print('hardened')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "hardened\n"), done.stderr


def test_memory_that_cannot_be_locked_is_refused() -> None:
    """Without permission to lock memory there is no arena, and the message names the limit to raise."""
    import subprocess
    import sys

    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        "import os\n"
        "from enclave import secret\n"
        "from enclave.errors import EnclaveError\n"
        "if os.geteuid() == 0:\n"
        "    secret.lib = type('L', (), {'sodium_mlock': staticmethod(lambda p, n: -1)})\n"
        "try:\n"
        "    secret.Secret.zero(32)\n"
        "except EnclaveError as error:\n"
        "    print(error.code, error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("secret.memory raise RLIMIT_MEMLOCK"), done.stderr
