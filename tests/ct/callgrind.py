"""Runs inside valgrind's callgrind: `python -m tests.ct.callgrind LIBRARY`; counts instructions per secret.

Each primitive is called through the shim once per secret, between two toggles of collection; the counts are
dumped under the tag `function|secret` and read by the gate.  Only C functions are counted: the interpreter
around them executes a varying number of instructions whatever it computes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import coincurve._libsecp256k1
import nacl._sodium

from enclave.group import ED25519, SECP256K1
from tests.ct.shim import Shim

SECRETS_RANDOM = 4
"""Random secrets besides the extremes 1, order - 1 and 2^200."""

CONTROL = "control:"
"""Prefix of the functions that must differ."""

WARM_UP = "warm-up"
"""Tag of the first call of every function, which binds symbols and is not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One function with its arguments; `secret` is among them and filled anew for every call."""

    name: str
    address: int
    arguments: tuple[Any, ...]


class Bench:
    """Buffers of one library, and the plans over them."""

    def __init__(self, shim: Shim, package: Any, order: int, byteorder: Literal["little", "big"]) -> None:
        self.shim = shim
        self.ffi, self.lib = package.ffi, package.lib
        self.secret, self.other, self.out, self.point = (self.ffi.new("unsigned char[128]") for _ in range(4))
        self.order, self.byteorder = order, byteorder
        self.point_start = b""

    def plan(self, name: str, *arguments: Any, control: bool = False) -> Plan:
        """A plan for a function of the library."""
        address = int(self.ffi.cast("uintptr_t", self.ffi.addressof(self.lib, name)))
        return Plan(name=CONTROL * control + name, address=address, arguments=arguments)

    def secrets(self) -> Iterator[tuple[str, int]]:
        """The warm-up, extreme and random scalars."""
        yield WARM_UP, 3
        yield from {"1": 1, "order - 1": self.order - 1, "2^200": 2**200}.items()
        for i in range(SECRETS_RANDOM):
            yield f"random {i}", int.from_bytes(os.urandom(40), "big") % (self.order - 1) + 1

    def run(self, plans: list[Plan]) -> None:
        """Counts every plan for every secret."""
        for plan in plans:
            for label, value in self.secrets():
                self.ffi.memmove(self.secret, value.to_bytes(32, self.byteorder), 32)
                self.ffi.memmove(self.other, (self.order - 1).to_bytes(32, self.byteorder), 32)
                self.ffi.memmove(self.point, self.point_start, len(self.point_start))
                words, alive = self.shim.arguments(self.ffi, plan.arguments)
                self.shim.library.ct_count(plan.address, words, f"{plan.name}|{label}".encode())
                del alive


def sodium_bench(shim: Shim) -> tuple[Bench, list[Plan]]:
    """libsodium's functions on secret scalars."""
    bench = Bench(shim, nacl._sodium, ED25519.order, "little")
    bench.point_start = ED25519.base_mult_public(99)
    secret, other, out, point, plan = bench.secret, bench.other, bench.out, bench.point, bench.plan
    scalar = "crypto_core_ed25519_scalar_"
    compare = ctypes.cast(shim.library.ct_control_compare, ctypes.c_void_p).value or 0
    return bench, [
        *(plan(scalar + name, out, secret, other) for name in ("add", "sub", "mul")),
        *(plan(scalar + name, out, secret) for name in ("negate", "invert", "reduce")),
        plan("crypto_scalarmult_ed25519_base_noclamp", out, secret),
        plan("crypto_scalarmult_ed25519_noclamp", out, secret, point),
        plan("crypto_hash_sha512", out, secret, 64),
        plan("sodium_memcmp", secret, other, 32),
        plan("sodium_memzero", secret, 32),
        Plan(name=CONTROL + "early-exit compare", address=compare, arguments=(secret, other, 32)),
    ]


def secp256k1_bench(shim: Shim) -> tuple[Bench, list[Plan]]:
    """libsecp256k1's functions on secret scalars, and the one that must never see any."""
    bench = Bench(shim, coincurve._libsecp256k1, SECP256K1.order, "big")
    secret, other, out, point, plan = bench.secret, bench.other, bench.out, bench.point, bench.plan
    context = bench.lib.secp256k1_context_create(bench.lib.SECP256K1_CONTEXT_NONE)
    bench.lib.secp256k1_context_randomize(context, os.urandom(32))
    parsed = bench.ffi.new("secp256k1_pubkey *")
    bench.lib.secp256k1_ec_pubkey_create(context, parsed, bytes(31) + b"\x63")
    bench.point_start = bytes(bench.ffi.buffer(parsed))
    nothing = bench.ffi.NULL
    return bench, [
        plan("secp256k1_ec_seckey_verify", context, secret),
        plan("secp256k1_ec_seckey_negate", context, secret),
        plan("secp256k1_ec_seckey_tweak_mul", context, other, secret),
        plan("secp256k1_ec_seckey_tweak_add", context, secret, bytes(31) + b"\x07"),
        plan("secp256k1_ec_pubkey_create", context, out, secret),
        plan("secp256k1_ecdh", context, out, point, secret, nothing, nothing),
        plan("secp256k1_ecdsa_sign_recoverable", context, out, bytes(range(32)), secret, nothing, nothing),
        plan("secp256k1_ec_pubkey_tweak_mul", context, point, secret, control=True),
    ]


def main() -> None:
    """Count everything."""
    shim = Shim(Path(sys.argv[1]))
    for make in (sodium_bench, secp256k1_bench):
        bench, plans = make(shim)
        bench.run(plans)


if __name__ == "__main__":
    main()
