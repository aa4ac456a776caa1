"""What a report is about: verdicts with their names, places and validities, before any HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attestation.verdict import Result, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Something a verdict rests on, and when it stops counting (Unix seconds)."""

    name: str
    ends: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a machine stands, by whose word."""

    provider: str
    region: str
    level: int
    label: str
    """`independent`, `self-attested` or `provider-operated`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One piece of evidence with its verdict."""

    name: str
    verdict: Verdict
    place: Place | None = None
    validities: Sequence[Validity] = ()
    facts: Sequence[tuple[str, str]] = ()
    """Further facts of its own, name and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of its own section; every cell is text."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole page."""

    title: str
    at: int
    """The time (Unix seconds) the verdicts are about."""
    subjects: Sequence[Subject]
    facts: Sequence[tuple[str, str]] = ()
    """What everything was judged by: roots, release, registry, collateral set."""
    warnings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    domains: bool = False
    """Whether places were looked up, so that a subject without one is drawn as unplaced."""

    @property
    def result(self) -> Result:
        """Trusted if every subject is; untrusted if any is; else it cannot be told."""
        results = [subject.verdict.result for subject in self.subjects]
        if Result.UNTRUSTED in results:
            return Result.UNTRUSTED
        return Result.INDETERMINATE if Result.INDETERMINATE in results or not results else Result.TRUSTED
