"""Judges what the instruments measured; no I/O.

memcheck: a control needs at least one error, a function at most what residues.json allows.  callgrind: a control
needs two different counts, a function exactly one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.ct.callgrind import CONTROL, WARM_UP

FUNCTIONS_MIN = 80
"""Fewer measured functions mean that the gate itself is broken."""

CONTROLS_MIN = 20
"""The same for controls."""


@dataclass(slots=True, kw_only=True)
class Verdict:
    """Names of what passed, and sentences about what did not."""

    functions: list[str] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The last line of a run."""
        if self.problems:
            return f"ct: FAILED, {len(self.problems)} problems"
        return f"ct: ok, {len(self.functions)} functions, {len(self.controls)} controls caught"

    def check_complete(self) -> None:
        """A run that measured next to nothing is no success."""
        if len(self.functions) < FUNCTIONS_MIN or len(self.controls) < CONTROLS_MIN:
            self.problems.append(f"only {len(self.functions)} functions and {len(self.controls)} controls measured")


def judge_memcheck(
    verdict: Verdict, lines: Sequence[Mapping[str, object]], residues: Sequence[Mapping[str, object]]
) -> None:
    """`lines` are {kind, name, errors}; `residues` the allow-list."""
    allowed = {str(entry["function"]): int(str(entry["errors"])) for entry in residues}
    measured = {str(line["name"]) for line in lines if line["kind"] == "case"}
    for name in sorted(allowed.keys() - measured):
        verdict.problems.append(f"residues.json allows {name}, which was not measured")
    for line in lines:
        name, errors = str(line["name"]), int(str(line["errors"]))
        if line["kind"] == "control":
            if errors < 1:
                verdict.problems.append(f"memcheck missed the control {name}: the run is void")
            else:
                verdict.controls.append(f"memcheck {name}")
        elif errors > allowed.get(name, 0):
            verdict.problems.append(
                f"{name}: {errors} secret-dependent branches or addresses, {allowed.get(name, 0)} allowed"
            )
        elif errors < allowed.get(name, 0):
            verdict.problems.append(
                f"{name}: residues.json allows {allowed[name]}, only {errors} are there: tighten it"
            )
        else:
            verdict.functions.append(f"memcheck {name}")


def judge_callgrind(verdict: Verdict, counts: Mapping[str, Mapping[str, int]]) -> None:
    """`counts` maps function -> secret's name -> instructions."""
    for name, by_secret in counts.items():
        distinct = sorted({count for secret, count in by_secret.items() if secret != WARM_UP})
        if name.startswith(CONTROL):
            if len(distinct) < 2:
                verdict.problems.append(f"callgrind missed {name}: the run is void")
            else:
                verdict.controls.append(f"callgrind {name.removeprefix(CONTROL)}")
        elif 0 in distinct:
            verdict.problems.append(f"{name}: nothing was counted, the library has other symbols than the gate expects")
        elif len(by_secret) < 3 or len(distinct) != 1:
            verdict.problems.append(f"{name}: instruction counts differ between secrets: {distinct}")
        else:
            verdict.functions.append(f"callgrind {name}")
