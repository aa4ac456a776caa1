"""One run of `attest fetch`: subjects in, a filled directory and a report out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from attestation.collateral import Collateral
from attestation.errors import CollateralError, FetchError
from attestation.fetch import amd, intel
from attestation.fetch.keeper import KEPT, UNCHANGED, Keeper, Note
from attestation.fetch.source import Source
from attestation.fetch.store import CollateralDirectory
from attestation.fetch.subject import AmdSubject, IntelSubject
from attestation.roots import Roots

Subject = IntelSubject | AmdSubject


@dataclass(slots=True, kw_only=True)
class Report:
    """What one run did."""

    files: list[str] = field(default_factory=list)
    """Complete files now in the directory, one per subject."""
    notes: list[Note] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    errors: list[FetchError] = field(default_factory=list)
    """One per subject that could not be completed."""
    shared: list[str] = field(default_factory=list)
    """Files another run wrote while this one waited for it."""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "files": self.files,
            "documents": [note.to_json() for note in self.notes],
            "alarms": self.alarms,
            "errors": [{"code": error.code, "detail": error.detail} for error in self.errors],
            "fetched_by_another_run": self.shared,
        }


def fetch_all(
    subjects: Sequence[Subject],
    directory: CollateralDirectory,
    source: Source,
    *,
    roots: Roots,
    now: Callable[[], int],
    early: bool = False,
) -> Report:
    """Fill the directory for every subject; what fails for one does not stop the others.

    Raises CollateralError if the directory cannot be read or written.
    """
    report = Report()
    asked_at_ns = time.time_ns()
    with directory.locked():
        for subject in subjects:
            try:
                _fetch_one(
                    subject, directory, source, roots=roots, now=now(), early=early, report=report, since=asked_at_ns
                )
            except FetchError as error:
                report.errors.append(error)
    return report


def _fetch_one(
    subject: Subject,
    directory: CollateralDirectory,
    source: Source,
    *,
    roots: Roots,
    now: int,
    early: bool,
    report: Report,
    since: int,
) -> None:
    fresh = [name for name in _names(subject) if directory.written_since(name, since)]
    if fresh:
        report.shared += fresh
        report.files += fresh
        return
    held = _readable(directory, source)
    keeper = Keeper(source=source)
    try:
        if isinstance(subject, IntelSubject):
            anchors = roots.of_vendor("intel")
            if not anchors:
                raise FetchError("no Intel root is trusted", code="fetch.root")
            name = subject.file_name
            data = intel.bundle(intel.fetch_intel(subject, keeper, anchors[0], held, now, early=early))
        else:
            documents = amd.fetch_amd(subject, keeper, roots.of_vendor("amd"), held, now)
            name, data = subject.file_name(documents.product), amd.bundle(documents)
    finally:
        report.notes += keeper.notes
        report.alarms += keeper.alarms
    if not (directory.path / name).exists() or any(note.outcome not in (UNCHANGED, KEPT) for note in keeper.notes):
        directory.write(name, data)
    report.files.append(name)


def _names(subject: Subject) -> list[str]:
    if isinstance(subject, IntelSubject):
        return [subject.file_name]
    return [subject.file_name(product) for product in subject.products]


def _readable(directory: CollateralDirectory, source: Source) -> Collateral:
    """What is held; a directory nobody can read is as good as empty, and its own files are about to be replaced."""
    try:
        return directory.held()
    except CollateralError as error:
        source.say(f"held collateral is not readable and counts for nothing: {error.detail}")
        return Collateral()
