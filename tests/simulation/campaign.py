"""Many timelines: each a fork of one prepared cluster, several processes at once, with totals.

Rules kept: the last line is `sim: N timelines, V violations`; the exit status tells whether V is 0; a violation is
printed with the command that plays it again.
"""

from __future__ import annotations

import argparse
import gc
import os
import pickle
import select
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from enclave.roster_terms import WitnessTerms
from tests.simulation import surroundings
from tests.simulation.cluster import Cluster
from tests.simulation.timeline import Result, play

REPORT_EVERY = 500
DIED = "defect: the process died"
ALARM_S = 300
"""Real seconds after which a timeline is taken for stuck."""


@dataclass(slots=True, kw_only=True)
class Totals:
    """What a campaign came to."""

    timelines: int = 0
    violations: int = 0
    counters: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    profiles: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    failed: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one timeline."""
        self.timelines += 1
        self.violations += len(result.violations)
        self.counters += result.counters
        self.codes += result.codes
        self.profiles[result.profile] += 1
        self.virtual_s += result.virtual_s
        if result.violations:
            result.trace = []
            self.failed.append(result)


def forked(
    cluster: Cluster,
    seeds: Iterable[int],
    *,
    jobs: int,
    prepare: Callable[[], None] = lambda: None,
    **options: Any,
) -> Iterator[Result]:
    """Play seeds in forks of `cluster`, `jobs` at once, in no particular order; `prepare` runs in each fork first."""
    surroundings.settle()
    running: dict[int, tuple[int, int, bytearray]] = {}
    try:
        yield from _results(cluster, iter(seeds), running, jobs, prepare, options)
    finally:
        # Whoever stops listening early leaves nobody behind.
        for descriptor, (pid, _, _) in running.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(descriptor)


def _results(
    cluster: Cluster,
    waiting: Iterator[int],
    running: dict[int, tuple[int, int, bytearray]],
    jobs: int,
    prepare: Callable[[], None],
    options: dict[str, Any],
) -> Iterator[Result]:
    is_over = False
    while True:
        while not is_over and len(running) < jobs:
            seed = next(waiting, None)
            if seed is None:
                is_over = True
                break
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(reading)
                _child(cluster, seed, writing, prepare, options)
            os.close(writing)
            running[reading] = (pid, seed, bytearray())
        if not running:
            return
        ready, _, _ = select.select(list(running), [], [])
        for descriptor in ready:
            pid, seed, data = running[descriptor]
            part = os.read(descriptor, 1 << 20)
            if part:
                data += part
                continue
            os.close(descriptor)
            os.waitpid(pid, 0)
            del running[descriptor]
            yield (pickle.loads(data) if data else Result(seed=seed, profile="?", violations=[DIED]))


def _child(cluster: Cluster, seed: int, writing: int, prepare: Callable[[], None], options: dict[str, Any]) -> None:
    gc.disable()
    signal.alarm(ALARM_S)
    try:
        prepare()
        result = play(cluster, seed, **options)
    except BaseException:
        result = Result(seed=seed, profile="?", violations=["defect: " + traceback.format_exc()])
    try:
        data = memoryview(pickle.dumps(result))
        while data:
            data = data[os.write(writing, data) :]
    finally:
        os._exit(0)


def main(arguments: list[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sim", description=__doc__)
    parser.add_argument("--timelines", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS", "0")) or os.cpu_count() or 1)
    parser.add_argument("--profile")
    parser.add_argument("--real", action="store_true", help="real curve arithmetic and signatures")
    parser.add_argument("--witness", type=int, nargs=3, metavar=("Q", "F", "A"), help="other witness numbers")
    parser.add_argument("--replay", type=int, help="play one seed and print its trace")
    options = parser.parse_args(arguments)
    terms = WitnessTerms(q=options.witness[0], f=options.witness[1], a=options.witness[2]) if options.witness else None
    cluster = Cluster(real=options.real, witness=terms)
    try:
        cluster.build()
        if options.replay is not None:
            return _replay(cluster, options)
        return _campaign(cluster, options)
    finally:
        shutil.rmtree(cluster.directory, ignore_errors=True)


def _replay(cluster: Cluster, options: argparse.Namespace) -> int:
    for result in forked(cluster, [options.replay], jobs=1, profile=options.profile):
        print("\n".join(result.trace))
        _show(result, options)
        print(f"sim: 1 timelines, {len(result.violations)} violations")
        return 1 if result.violations else 0
    return 1


def _campaign(cluster: Cluster, options: argparse.Namespace) -> int:
    totals = Totals()
    seeds = range(options.seed, options.seed + options.timelines)
    for result in forked(cluster, seeds, jobs=options.jobs, profile=options.profile):
        totals.add(result)
        if result.violations:
            _show(result, options)
        if totals.timelines % REPORT_EVERY == 0:
            print(f"{totals.timelines} timelines, {totals.violations} violations", file=sys.stderr, flush=True)
    _summary(totals)
    print(f"sim: {totals.timelines} timelines, {totals.violations} violations")
    return 1 if totals.violations else 0


def _show(result: Result, options: argparse.Namespace) -> None:
    for violation in result.violations:
        print(f"seed {result.seed} ({result.profile}): {violation}")
    if result.violations:
        profile = f" --profile {options.profile}" if options.profile else ""
        real = " --real" if options.real else ""
        print(f"  again: python -m tests.simulation --replay {result.seed}{profile}{real}", flush=True)


def _summary(totals: Totals) -> None:
    print(f"{totals.virtual_s / 3600:.1f} h of virtual time; profiles: {_listed(totals.profiles)}")
    print(f"happened: {_listed(totals.counters)}")
    print(f"answered: {_listed(totals.codes)}")


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))
