"""`make bench-crypto`: what each threshold operation costs one node, beside reference figures of the same primitives.

The reference is a prototype that made the same raw library calls without arena, checks of inputs, bindings, sealing or
verification of own results; its figures are scaled by one multiplication measured in this run, so that the ratio
compares programs, not machines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from enclave.group import ED25519, SECP256K1, Group
from enclave.secret import Secret
from tests.bench.crypto_cases import SIZES, Operation, operations

ROUNDS = 3
SECONDS = 0.06
"""Each figure is the best of three rounds of this length."""

REFERENCE_MULT = {"ed25519": 79.0, "secp256k1": 32.0}
"""Microseconds of one secret times a point where the reference figures were taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line: microseconds here, and of the reference scaled to this machine if there is one."""

    operation: Operation
    size: tuple[int, int]
    measured: float
    reference: float | None


def measure(operation: Operation) -> float:
    """Microseconds of one call, without its preparation; best of three."""
    operation.call(operation.prepare())
    best = float("inf")
    for _ in range(ROUNDS):
        count, spent = 0, 0.0
        while spent < SECONDS:
            given = operation.prepare()
            start = time.process_time()
            operation.call(given)
            spent += time.process_time() - start
            count += 1
        best = min(best, spent / count)
    return best * 1e6


def calibration() -> dict[str, float]:
    """How much slower than the reference's one multiplication is here, by group."""
    factors = {}
    for group in (ED25519, SECP256K1):
        given = (group, group.random_scalar(), group.base_mult_public(7))
        single = Operation(
            protocol="", step="", group=group.name, reference=None, prepare=lambda given=given: given, call=_multiply
        )
        factors[group.name] = measure(single) / REFERENCE_MULT[group.name]
    return factors


def _multiply(given: tuple[Group, Secret, bytes]) -> bytes:
    group, secret, point = given
    return group.mult(secret, point)


def figures(only: str = "") -> Iterator[Figure]:
    """Every operation for every size."""
    factors = calibration()
    yield from (
        Figure(
            operation=operation,
            size=size,
            measured=measure(operation),
            reference=None if operation.reference is None else operation.reference * factors[operation.group],
        )
        for size in SIZES
        for operation in operations(*size)
        if only in operation.protocol
    )


def main() -> None:
    """Print a table; an argument selects protocols by name."""
    print("microseconds of one core per node, crypto only; reference scaled to this run")
    print(f"{'protocol':<25}{'step':<26}{'T-n':>6}{'here':>9}{'reference':>11}{'ratio':>7}")
    for figure in figures(sys.argv[1] if len(sys.argv) > 1 else ""):
        threshold, n = figure.size
        reference, ratio = "", ""
        if figure.reference is not None:
            reference, ratio = f"{figure.reference:.0f}", f"{figure.measured / figure.reference:.2f}"
        name = f"{figure.operation.protocol:<25}{figure.operation.step:<26}{f'{threshold}-{n}':>6}"
        print(f"{name}{figure.measured:>9.0f}{reference:>11}{ratio:>7}", flush=True)


if __name__ == "__main__":
    main()
