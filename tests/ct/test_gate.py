"""The constant-time gate as a test, and the judgement itself on made-up measurements."""

from __future__ import annotations

import pytest

from tests.ct.gate import run
from tests.ct.shim import missing
from tests.ct.verdict import Verdict, judge_callgrind, judge_memcheck

NOTHING = {"f": {"1": 0, "2": 0, "3": 0}}
"""What callgrind counts in a library without the symbols."""

RESIDUES = [{"function": "f", "errors": 2, "reason": "stated"}]


@pytest.mark.ct
def test_production_functions_are_constant_time() -> None:
    """Under valgrind every function stays within its allowance and every known-bad control is caught."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    verdict = run(lambda _: None)
    assert verdict.problems == []
    assert verdict.summary.startswith("ct: ok, ")


def memcheck(*lines: tuple[str, str, int]) -> Verdict:
    """The judgement of these measurements."""
    verdict = Verdict()
    judge_memcheck(verdict, [{"kind": kind, "name": name, "errors": errors} for kind, name, errors in lines], RESIDUES)
    return verdict


def test_allowed_residues_pass() -> None:
    """Exactly what the allow-list states passes, as does zero for a function it does not name."""
    verdict = memcheck(("case", "f", 2), ("case", "g", 0), ("control", "c", 1))
    assert verdict.problems == []
    assert verdict.summary == "ct: ok, 2 functions, 1 controls caught"


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        pytest.param([("case", "f", 3)], "f: 3 secret-dependent", id="more than allowed"),
        pytest.param([("case", "f", 2), ("case", "g", 1)], "g: 1 secret-dependent", id="not allowed at all"),
        pytest.param([("case", "f", 1)], "tighten", id="allowance too wide"),
        pytest.param([("case", "g", 0)], "not measured", id="allowance for nothing"),
        pytest.param([("case", "f", 2), ("control", "c", 0)], "missed the control c", id="control missed"),
    ],
)
def test_memcheck_problems_are_found(lines: list[tuple[str, str, int]], complaint: str) -> None:
    """Each way a memcheck run can fail gives exactly one problem that says so."""
    verdict = memcheck(*lines)
    assert len(verdict.problems) == 1
    assert complaint in verdict.problems[0]
    assert verdict.summary == "ct: FAILED, 1 problems"


def test_callgrind_wants_equal_counts_and_unequal_controls() -> None:
    """A difference between secrets, a control without one and a count of zero are problems; warm-up is free."""
    verdict = Verdict()
    judge_callgrind(verdict, {"f": {"warm-up": 9, "1": 5, "2": 5}, "control:c": {"1": 5, "2": 6}})
    assert (verdict.problems, len(verdict.functions), len(verdict.controls)) == ([], 1, 1)
    for counts in ({"f": {"warm-up": 5, "1": 5, "2": 6}}, {"f": {"1": 5}}, {"control:c": {"1": 5, "2": 5}}, NOTHING):
        verdict = Verdict()
        judge_callgrind(verdict, counts)
        assert len(verdict.problems) == 1


def test_a_run_that_measured_little_is_no_success() -> None:
    """An empty run does not report ok."""
    verdict = Verdict()
    verdict.check_complete()
    assert verdict.problems
