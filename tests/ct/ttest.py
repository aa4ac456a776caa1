"""`python -m tests.ct.ttest`: a timing test in the manner of dudect, a second opinion on the gate; not part of it.

Two classes of secrets, one call each under `perf_counter_ns`, Welch's t over crops of the slowest samples, the
median of three rounds.  Above 4.5 is a leak.  Known-bad targets run along and must be flagged, or the machine is too
noisy and the run is void.  Takes about a minute on an idle core; statistics, not proof.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from enclave.group import ED25519, SECP256K1
from enclave.secret import Secret
from enclave.threshold import shamir

THRESHOLD_T = 4.5
"""Largest |t| that counts as no leak (dudect's own value)."""

ROUNDS = 3
CROPS = 100
WARM_UP = 200
"""First samples, thrown away: caches and branch predictors learn on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A call to time on inputs of class 0 (fixed) or 1 (random), both made anew per sample."""

    name: str
    make: Callable[[int], object]
    call: Callable[[object], object]
    samples: int
    leaks: bool = False
    """A known-bad control."""


def welch(a: list[int], b: list[int]) -> float:
    """Welch's t statistic."""
    if len(a) < 10 or len(b) < 10:
        return 0.0
    spread = statistics.variance(a) / len(a) + statistics.variance(b) / len(b)
    return (statistics.fmean(a) - statistics.fmean(b)) / spread**0.5 if spread else 0.0


def largest_t(classes: list[int], times: list[int]) -> float:
    """The largest |t| over all crops."""
    ordered = sorted(times)
    limits = {ordered[int((len(ordered) - 1) * (1 - 0.5 ** (10 * (i + 1) / CROPS)))] for i in range(CROPS)}
    limits.add(ordered[-1])
    return max(
        abs(welch(*([t for c, t in zip(classes, times, strict=True) if c == side and t <= limit] for side in (0, 1))))
        for limit in limits
    )


def measure(target: Target) -> float:
    """One round: all inputs first, in random order of classes, then the timed calls."""
    classes = [random.getrandbits(1) for _ in range(target.samples)]
    inputs = [target.make(side) for side in classes]
    call, clock, times = target.call, time.perf_counter_ns, []
    gc.collect()
    gc.disable()
    for value in inputs:
        start = clock()
        call(value)
        times.append(clock() - start)
    gc.enable()
    return largest_t(classes[WARM_UP:], times[WARM_UP:])


def scalar(side: int, byteorder: str) -> bytearray:
    """The scalar 1, or a random one below either order."""
    drawn = int.from_bytes(os.urandom(31), "big") + 2**251
    return bytearray((1, drawn)[side].to_bytes(32, "big" if byteorder == "big" else "little"))


def targets() -> list[Target]:
    """Good ones and controls."""
    other = os.urandom(32)
    ed = {"make": lambda side: Secret.take(scalar(side, "little"))}
    secp = {"make": lambda side: Secret.take(scalar(side, "big"))}
    one_ed, one_secp = ED25519.random_scalar(), SECP256K1.random_scalar()
    point_ed, point_secp = ED25519.base_mult_public(99), SECP256K1.base_mult_public(99)

    def shares(side: int) -> dict[int, Secret]:
        drawn = {i: scalar(1, "little") for i in (1, 2, 3)}
        fixed = {i: bytearray((2**i).to_bytes(32, "little")) for i in (1, 2, 3)}
        return {i: Secret.take((drawn, fixed)[1 - side][i]) for i in (1, 2, 3)}

    def near(side: int) -> bytes:
        return bytes([*other[:-1], other[-1] ^ 1]) if side == 0 else bytes([other[0] ^ 1, *other[1:]])

    return [
        Target(name="bytes == 32", make=near, call=lambda v: v == other, samples=60_000, leaks=True),
        Target(
            name="int product mod q",
            make=lambda side: int.from_bytes(scalar(side, "big"), "big"),
            call=lambda v: v * (2**251 + 77) % ED25519.order,  # type: ignore[operator]
            samples=20_000,
            leaks=True,
        ),
        Target(
            name="ec_pubkey_tweak_mul",
            make=lambda side: int.from_bytes(scalar(side, "big"), "big"),
            call=lambda v: SECP256K1.mult_public(v, point_secp),  # type: ignore[arg-type]
            samples=3_000,
            leaks=True,
        ),
        Target(name="ed25519.add", call=lambda s: ED25519.add(s, one_ed), samples=20_000, **ed),  # type: ignore[arg-type]
        Target(name="ed25519.mul", call=lambda s: ED25519.mul(s, one_ed), samples=20_000, **ed),  # type: ignore[arg-type]
        Target(name="ed25519.base_mult", call=ED25519.base_mult, samples=4_000, **ed),  # type: ignore[arg-type]
        Target(name="ed25519.mult", call=lambda s: ED25519.mult(s, point_ed), samples=3_000, **ed),  # type: ignore[arg-type]
        Target(name="secp256k1.add", call=lambda s: SECP256K1.add(s, one_secp), samples=20_000, **secp),  # type: ignore[arg-type]
        Target(name="secp256k1.mul", call=lambda s: SECP256K1.mul(s, one_secp), samples=20_000, **secp),  # type: ignore[arg-type]
        Target(name="secp256k1.base_mult", call=SECP256K1.base_mult, samples=4_000, **secp),  # type: ignore[arg-type]
        Target(name="secp256k1.mult", call=lambda s: SECP256K1.mult(s, point_secp), samples=3_000, **secp),  # type: ignore[arg-type]
        Target(
            name="shamir.combine",
            make=shares,
            call=lambda shares: shamir.combine(ED25519, shares),  # type: ignore[arg-type]
            samples=6_000,
        ),
    ]


def main() -> int:
    """Exit status 1 on a leak or a missed control."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    bad = 0
    for target in targets():
        rounds = [measure(target) for _ in range(ROUNDS)]
        t = statistics.median(rounds)
        flagged = t > THRESHOLD_T
        wrong = flagged != target.leaks
        bad += wrong
        note = "control missed: run void" if wrong and target.leaks else "LEAK" if flagged else "pass"
        print(f"{target.name:24} median max |t| {t:8.1f}   {note}", flush=True)
    print("ttest: ok" if not bad else f"ttest: FAILED, {bad} targets")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
