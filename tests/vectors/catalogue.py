"""The whole synthetic set and its index."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.vectors import intel_cases, nitro_cases, snp_cases
from tests.vectors.case import Case

INDEX = Path(__file__).parent / "INDEX.json"


@cache
def every_case() -> tuple[Case, ...]:
    """All cases; the same bytes at every call and on every machine."""
    return (*intel_cases.cases(), *snp_cases.cases(), *nitro_cases.cases())


def index() -> list[dict[str, object]]:
    """One entry per case: name, row, time, what comes out, and the digest of its files."""
    return [case.to_json() for case in every_case()]
