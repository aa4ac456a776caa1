"""Campaigns as anybody runs them: some hundred timelines, fifty with real cryptography, the same again by seed.

They run in processes of their own, because a simulation takes clock and chance away from the whole process.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.simulation.bugs import BUGS

KINDS = (
    "bad weather", "bit flip", "crash", "disk error", "freeze", "gateway crash", "identical request repeated", "lie",
    "message delayed", "message duplicated", "message lost", "message reordered", "message replayed",
    "monotonic clock jump", "partition", "partitioned message", "policy update", "refresh", "relay", "repair",
    "reshare", "restored disk", "revoked", "rogue", "torn commit", "twin", "wall clock jump", "epochs compared",
)  # fmt: skip
"""Everything that has to have happened in a thousand timelines."""


TIMELINES = os.environ.get("HOLDFAST_TIMELINES", "400")
"""Timelines of the first test; `make sim` plays a thousand."""


def _run(*arguments: str, module: str = "tests.simulation", timeout_s: float = 900.0) -> tuple[int, str]:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    return done.returncode, done.stderr + done.stdout


def test_a_campaign() -> None:
    """No invariant is violated, and every kind of fault happened."""
    status, output = _run("--timelines", TIMELINES, "--seed", "1")
    assert status == 0, output
    assert output.rstrip().endswith(f"sim: {TIMELINES} timelines, 0 violations")
    (happened,) = re.findall(r"^happened: (.*)$", output, re.MULTILINE)
    counts = {name: int(count) for name, count in re.findall(r"([^,]+?) (\d+)(?:, |$)", happened)}
    assert [kind for kind in KINDS if not counts.get(kind)] == []


def test_fifty_timelines_with_real_cryptography() -> None:
    """The same with the real groups and signatures, decryptions included."""
    status, output = _run("--timelines", "50", "--seed", "1", "--real")
    assert status == 0, output
    assert output.rstrip().endswith("sim: 50 timelines, 0 violations")


def test_the_witness_protocol_needs_its_numbers() -> None:
    """With 2q > N + f the worst rollback never succeeds; with q = 1, which rosters refuse, it does."""
    worst = ("--timelines", "60", "--seed", "1", "--profile", "rollback", "--witness")
    status, output = _run(*worst, "3", "1", "3")
    assert status == 0, output
    status, output = _run(*worst, "1", "1", "3")
    assert status == 1, output
    assert "I3: " in output


def test_a_seed_plays_the_same_again() -> None:
    """Two processes print the same trace for one seed, and another seed prints another."""
    first, again, other = (_run("--replay", seed)[1] for seed in ("11", "11", "12"))
    assert first == again
    assert len(first.splitlines()) > 20
    assert first != other


def test_every_bug_is_noticed() -> None:
    """Each checker fires on a bug put back for it, within a stated number of timelines."""
    status, output = _run(module="tests.simulation.bug_hunt")
    assert status == 0, output
    assert len(re.findall(r"^[IL]\d+: noticed after", output, re.MULTILINE)) == len(BUGS)


@pytest.mark.parametrize("invariant", [*(f"I{number}" for number in range(1, 13)), "L1", "L2"])
def test_every_invariant_has_a_bug(invariant: str) -> None:
    """No checker goes without a proof that it can fail."""
    assert invariant in {bug.invariant for bug in BUGS.values()}
