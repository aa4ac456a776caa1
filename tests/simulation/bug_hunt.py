"""Looks for every bug of tests.simulation.bugs: `python -m tests.simulation.bug_hunt [name ...]`; one line each."""

from __future__ import annotations

import os
import shutil
import sys

SEEDS_MAX = 150


def main(names: list[str]) -> int:
    """0 if the right checker noticed every one of them."""
    from tests.simulation.bugs import BUGS
    from tests.simulation.campaign import forked
    from tests.simulation.cluster import Cluster

    cluster = Cluster()
    missed = 0
    try:
        cluster.build()
        for name in names or list(BUGS):
            bug = BUGS[name]
            played = forked(
                cluster,
                range(1, SEEDS_MAX + 1),
                jobs=os.cpu_count() or 1,
                profile=bug.profile,
                prepare=bug.put_in,
            )
            for tried, result in enumerate(played, start=1):
                if any(violation.startswith(bug.invariant + ":") for violation in result.violations):
                    print(f"{bug.invariant}: noticed after {tried} timelines: {name} ({bug.what})", flush=True)
                    break
            else:
                missed += 1
                print(f"{bug.invariant}: NOT noticed in {SEEDS_MAX} timelines: {name} ({bug.what})", flush=True)
    finally:
        shutil.rmtree(cluster.directory, ignore_errors=True)
    return 1 if missed else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "tests.simulation.bug_hunt", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    raise SystemExit(main(sys.argv[1:]))
