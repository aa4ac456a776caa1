"""`make bench-crypto`: what each threshold operation costs one node, beside reference figures of the same primitives.

The reference is a prototype that made the same raw library calls; its figures are scaled by one raw multiplication
measured in this run, so that the ratio compares programs, not machines.  It neither sealed what travels between nodes
nor verified own results, and checked fewer points.  What we do and it did not is measured apart, as `added`, and left
out of the ratio.  Nothing is remembered from one call to the next but points that a node knows with the key.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import coincurve._libsecp256k1 as secp256k1
import nacl._sodium as sodium

from enclave.group import ED25519, SECP256K1
from enclave.threshold import ceremony_kem
from tests.bench.crypto_cases import SIZES, Operation, operations

BATCHES = 40
SECONDS = 0.004
"""Each figure is the best of so many batches of this length, preparation aside: other work on the machine disturbs some
of many short batches, and all of a few long ones."""

AT_ONCE = 4
"""Calls prepared before the first of them is made."""

REFERENCE_MULT = {"ed25519": 79.0, "secp256k1": 31.9}
"""Microseconds of one secret times a point where the reference figures were taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line: microseconds here, and of the reference scaled to this machine if there is one."""

    operation: Operation
    size: tuple[int, int]
    measured: float
    added: float | None
    reference: float | None


def measure(prepare: Callable[[], Any], call: Callable[[Any], object], known: tuple[bytes, ...] = ()) -> float:
    """Microseconds of one call, without its preparation and without taking the time; best of many batches."""
    call(prepare())
    best = _best(prepare, call, known)
    return (best - _best(lambda: None, lambda _: None, ())) * 1e6


def _best(prepare: Callable[[], Any], call: Callable[[Any], object], known: tuple[bytes, ...]) -> float:
    best = float("inf")
    for _ in range(BATCHES):
        count, spent = 0, 0.0
        while spent < SECONDS:
            for given in [prepare() for _ in range(AT_ONCE)]:
                ED25519._valid.clear()
                SECP256K1._points.clear()
                ceremony_kem._public_key.cache_clear()
                for point in known:
                    SECP256K1.validate_point(point)
                start = time.process_time()
                call(given)
                spent += time.process_time() - start
                count += 1
        best = min(best, spent / count)
    return best


def calibration() -> dict[str, float]:
    """How much slower than the reference's one raw multiplication is here, by group."""
    scalar, out = sodium.ffi.new("unsigned char[32]", bytes(range(1, 32)) + b"\1"), sodium.ffi.new("unsigned char[32]")
    point, curve, secp = ED25519.base_mult_public(7), SECP256K1.context, secp256k1.lib
    parsed, shared, null = SECP256K1._parse(SECP256K1.base_mult_public(7)), bytearray(64), secp256k1.ffi.NULL
    into, key = secp256k1.ffi.from_buffer(shared), bytes(range(1, 33))
    raw = {
        "ed25519": lambda _: sodium.lib.crypto_scalarmult_ed25519_noclamp(out, scalar, point),
        "secp256k1": lambda _: secp.secp256k1_ecdh(curve, into, parsed, key, null, null),
    }
    return {name: measure(lambda: None, call) / REFERENCE_MULT[name] for name, call in raw.items()}


def figures(only: str = "") -> Iterator[Figure]:
    """Every operation for every size."""
    factors = calibration()
    yield from (
        Figure(
            operation=operation,
            size=size,
            measured=measure(operation.prepare, operation.call, operation.known),
            added=None if operation.added is None else measure(operation.prepare, operation.added, operation.known),
            reference=None if operation.reference is None else operation.reference * factors[operation.group],
        )
        for size in SIZES
        for operation in operations(*size)
        if only in operation.protocol
    )


def main() -> None:
    """Print a table; an argument selects protocols by name."""
    print("microseconds of one core per node, crypto only; reference scaled to this run")
    print(f"{'protocol':<25}{'step':<26}{'T-n':>6}{'here':>9}{'added':>8}{'reference':>11}{'ratio':>7}")
    for figure in figures(sys.argv[1] if len(sys.argv) > 1 else ""):
        threshold, n = figure.size
        reference, ratio = "", ""
        added = "" if figure.added is None else f"{figure.added:.0f}"
        if figure.reference is not None:
            own = figure.measured - (figure.added or 0)
            reference, ratio = f"{figure.reference:.0f}", f"{own / figure.reference:.2f}"
        name = f"{figure.operation.protocol:<25}{figure.operation.step:<26}{f'{threshold}-{n}':>6}"
        print(f"{name}{figure.measured:>9.0f}{added:>8}{reference:>11}{ratio:>7}", flush=True)


if __name__ == "__main__":
    main()
