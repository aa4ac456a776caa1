"""Runs fetches into one directory and keeps what was waited and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attestation.collateral import Collateral
from attestation.fetch.endpoints import parse_endpoints
from attestation.fetch.run import Report, fetch_all
from attestation.fetch.source import Source
from attestation.fetch.store import CollateralDirectory
from attestation.fetch.subject import subject_of
from attestation.policy import AppraisalPolicy
from attestation.roots import Roots
from attestation.verdict import Result
from tests.attestation.fetch.vendor import VendorService
from tests.attestation.world import NOW, World

DAY = 86_400


class Bench:
    """Runs fetches into one directory and keeps what was waited and said."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.waits: list[float] = []
        self.said: list[str] = []

    def fetch(self, *services: VendorService, evidence: bytes | None = None, now: int = NOW, **options: Any) -> Report:
        """One run for the Intel machine's quote, or other evidence."""
        subject = subject_of(self.world.tdx() if evidence is None else evidence)
        assert subject is not None
        source = Source(
            endpoints=parse_endpoints(service.url for service in services),
            sleep=self.waits.append,
            say=self.said.append,
            clock=lambda: float(NOW),
            **({"attempts": 2, "timeout_s": 2.0} | options),
        )
        roots = Roots.of(self.world.roots)
        return fetch_all([subject], CollateralDirectory(self.directory), source, roots=roots, now=lambda: now)

    def outcomes(self, report: Report) -> list[str]:
        """What happened to each document, in order."""
        return [note.outcome for note in report.notes]

    def held(self) -> Collateral:
        """What the directory holds."""
        return Collateral.load([self.directory])

    def verdict(self, evidence: bytes, now: int = NOW) -> Result:
        """What `attest verify` would conclude from the directory."""
        policy = AppraisalPolicy.development()
        return self.world.verifier.examine(evidence, collateral=self.held(), now=now, policy=policy).result
