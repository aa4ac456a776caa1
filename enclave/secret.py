"""The only home of secret bytes: a locked, undumpable memory arena and the `Secret` handle to a slot of it.

Rules kept here: a secret is never a Python `bytes`, `int` or `str`; every operation Python would do
by copying or by comparing in variable time raises SecretLeakError; a slot is zeroed before it can be
handed out again; the only way out is `declassify`, for values a protocol publishes (specs/secret-memory.md).
"""

from __future__ import annotations

import mmap
import os
import threading
from typing import Any, NoReturn

from nacl._sodium import ffi, lib

from enclave.errors import EnclaveError, SecretLeakError

SLOT_BYTES = 32
"""Granularity of the arena in bytes: one scalar."""

ARENA_BYTES = 64 << 10
"""Size of one arena in bytes: the smallest RLIMIT_MEMLOCK in common use still locks the first one."""

SECRET_BYTES_MAX = ARENA_BYTES
"""Largest secret in bytes: it must fit in one arena."""

_MADV_WIPEONFORK = 18
"""Linux >= 4.14: a forked child sees zeros.  Python 3.11's mmap has no name for it."""


class _Arena:
    """One locked anonymous mapping, cut into slots from its start; never unmapped."""

    __slots__ = ("address", "base", "memory", "used")

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, ARENA_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.memory.madvise(mmap.MADV_DONTDUMP)
        self.memory.madvise(_MADV_WIPEONFORK)
        self.base: Any = ffi.cast("unsigned char *", ffi.from_buffer(self.memory, require_writable=True))
        self.address = int(ffi.cast("uintptr_t", self.base))
        self.used = 0
        if lib.sodium_mlock(self.base, ARENA_BYTES) != 0:
            raise EnclaveError(
                f"cannot lock {ARENA_BYTES} bytes of memory for secrets",
                code="secret.memory",
                hint="raise RLIMIT_MEMLOCK (ulimit -l) for this process",
            )


class _Slot:
    """A run of 32-byte slots: where a secret lives while a `Secret` owns it."""

    __slots__ = ("address", "arena", "home", "offset", "p", "span")

    def __init__(self, arena: _Arena, offset: int, span: int, home: list[_Slot]) -> None:
        self.arena = arena
        self.home = home  # the free list it returns to: after a fork the parent's list, which nobody takes from
        self.offset = offset
        self.span = span
        self.p = arena.base + offset
        self.address = arena.address + offset


class _Pool:
    """Hands out zeroed slots; free slots are kept per span, newest first, so that hot code stays in cache."""

    __slots__ = ("arenas", "free", "lock")

    def __init__(self) -> None:
        self.arenas: list[_Arena] = []
        self.free: dict[int, list[_Slot]] = {}
        self.lock = threading.Lock()

    def grow(self, span: int) -> _Slot:
        """A slot of `span` bytes never used before, from a new arena when the newest one is full."""
        with self.lock:
            if not self.arenas or self.arenas[-1].used + span > ARENA_BYTES:
                self.arenas.append(_Arena())
            arena = self.arenas[-1]
            slot = _Slot(arena, arena.used, span, self.free.setdefault(span, []))
            arena.used += span
        return slot


_pool = _Pool()


def _after_fork() -> None:
    """A child inherits zeros in unlocked pages: it must take fresh, locked arenas for whatever it makes itself."""
    global _pool
    _pool = _Pool()


os.register_at_fork(after_in_child=_after_fork)


def _leak(*_: object, **__: object) -> NoReturn:
    raise SecretLeakError("a secret cannot be copied, compared, converted or printed")


class Secret:
    """Owner of `size` secret bytes in the arena; wiped by `wipe`, at the end of `with`, or when collected.

    `p` is a cffi `unsigned char *` and `address` the same as an integer, both for calls of constant-time
    primitives only; `view` is a memoryview of the slot, for primitives that accept buffers.  All three are
    dead after `wipe`: using a wiped secret raises SecretLeakError (`secret.wiped`).
    """

    __slots__ = ("_slot", "address", "p", "size")

    _slot: _Slot | None
    p: Any
    address: int
    size: int

    def __init__(self, size: int) -> None:
        self._slot = None
        if not 0 < size <= SECRET_BYTES_MAX:
            raise SecretLeakError(f"a secret has 1 to {SECRET_BYTES_MAX} bytes, not {size}", code="secret.size")
        span = (size + SLOT_BYTES - 1) & -SLOT_BYTES
        try:
            slot = _pool.free[span].pop()
        except (KeyError, IndexError):
            slot = _pool.grow(span)
        self._slot = slot
        self.p = slot.p
        self.address = slot.address
        self.size = size

    @classmethod
    def zero(cls, size: int) -> Secret:
        """A secret of `size` zero bytes, to be written by a primitive."""
        return cls(size)

    @classmethod
    def random(cls, size: int = SLOT_BYTES) -> Secret:
        """A secret of `size` bytes from the kernel's generator."""
        secret = cls(size)
        lib.randombytes(secret.p, size)
        return secret

    @classmethod
    def take(cls, source: bytearray | memoryview) -> Secret:
        """Moves the bytes of a writable buffer into a secret and zeroes the buffer."""
        buffer = ffi.from_buffer("unsigned char[]", source, require_writable=True)
        size = len(buffer)
        secret = cls(size)
        ffi.memmove(secret.p, buffer, size)
        lib.sodium_memzero(buffer, size)
        return secret

    @property
    def view(self) -> memoryview:
        """The slot as a writable memoryview of `size` bytes, for buffer-accepting primitives; do not keep it."""
        slot = self._slot
        if slot is None:
            raise SecretLeakError("no view: the secret was wiped", code="secret.wiped")
        return memoryview(slot.arena.memory)[slot.offset : slot.offset + self.size]

    def duplicate(self) -> Secret:
        """A second secret with the same bytes."""
        return self.part(0, self.size)

    def part(self, start: int, size: int) -> Secret:
        """A new secret with `size` of these bytes from the public offset `start`."""
        if start < 0 or size < 1 or start + size > self.size:
            raise SecretLeakError(f"no {size} bytes at {start} in a secret of {self.size}", code="secret.size")
        secret = Secret(size)
        ffi.memmove(secret.p, self.p + start, size)
        return secret

    def same(self, other: Secret) -> bool:
        """Whether both hold equal bytes, in constant time; the answer itself becomes public."""
        return self.size == other.size and bool(lib.sodium_memcmp(self.p, other.p, self.size) == 0)

    def wipe(self) -> None:
        """Zeroes the bytes and gives the slot back; wiping twice does nothing."""
        slot = self._slot
        if slot is None:
            return
        self._slot = None
        del self.p, self.address
        lib.sodium_memzero(slot.p, slot.span)
        slot.home.append(slot)

    def __enter__(self) -> Secret:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __del__(self) -> None:
        if self._slot is not None:
            self.wipe()

    def __getattr__(self, name: str) -> NoReturn:
        raise SecretLeakError(f"no attribute {name}: the secret was wiped", code="secret.wiped")

    def __repr__(self) -> str:
        return "<Secret>"

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _leak
    __hash__ = __bytes__ = __int__ = __index__ = __float__ = __complex__ = __bool__ = _leak
    __len__ = __iter__ = __getitem__ = __contains__ = __reversed__ = __format__ = _leak
    __copy__ = __deepcopy__ = __reduce__ = __reduce_ex__ = __getstate__ = _leak


def declassify(secret: Secret) -> bytes:
    """The bytes of `secret` as `bytes`: the one door out, only for what a protocol publishes.

    Every call is a claim that the value may be known to everyone; the constant-time gate treats the
    bytes as public from here on and everything before as secret.
    """
    return bytes(ffi.buffer(secret.p, secret.size))
