"""`attest report`: verdicts on several pieces of evidence as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from attestation.cli.appraisal import Appraiser, with_appraisal
from attestation.cli.options import read_evidence
from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.evidence import Tee
from attestation.instant import format_instant
from attestation.proof_of_cloud.policy import check_platform
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.release.manifest import ReleaseManifest
from attestation.report.contents import Place, Report, Subject, Validity
from attestation.report.markup import visible
from attestation.report.page import render_page
from attestation.report.validity import validities
from attestation.verdict import Result, Verdict

EXIT_CODES = {Result.TRUSTED: 0, Result.UNTRUSTED: 1, Result.INDETERMINATE: 3}


@click.command("report")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@with_appraisal
@click.option("--html", "out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Page to write.")
@click.option("--title", default="Attestation report", show_default=True, help="Heading of the page.")
def command(files: tuple[Path, ...], appraiser: Appraiser, out: Path, title: str) -> None:
    """Verify every FILE and write one self-contained page with all verdicts and every step.

    The page loads nothing and runs nothing; it follows the reader's light or dark setting and prints.
    Exit code 0: all trusted; 1: at least one not trusted; 2: usage; 3: otherwise.
    """
    subjects = [_subject(path, read_evidence(path), appraiser) for path in files]
    appraiser.warn_of_roots()
    report = Report(
        title=title,
        at=appraiser.now,
        subjects=subjects,
        facts=_facts(appraiser),
        warnings=[
            f"Judged under a {label} root: no hardware vendor vouches for these results."
            for label in appraiser.other_roots
        ],
        domains=isinstance(appraiser.snapshot, RegistrySnapshot),
    )
    try:
        out.write_text(render_page(report), encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {out}: {error.strerror}") from None
    for subject in subjects:
        click.echo(f"{subject.verdict.result.value:<13} {visible(subject.name)}")
    raise SystemExit(EXIT_CODES[report.result])


def _subject(path: Path, evidence: bytes, appraiser: Appraiser) -> Subject:
    verdict = appraiser.examine(evidence)
    place, vouched_until = _place(verdict, appraiser)
    ends: list[Validity] = []
    if verdict.claims is not None and isinstance(appraiser.collateral, Collateral):
        ends += validities(evidence, verdict.claims, appraiser.collateral, appraiser.now)
    if vouched_until is not None:
        ends.append(Validity(name="proof of cloud", ends=vouched_until))
    if isinstance(appraiser.release, ReleaseManifest):
        ends.append(Validity(name=f"release {appraiser.release.title}", ends=appraiser.release.expires_at))
    return Subject(name=path.name, verdict=verdict, place=place, validities=ends)


def _place(verdict: Verdict, appraiser: Appraiser) -> tuple[Place | None, int | None]:
    """Where the registry says the machine stands; nothing unless proof of cloud holds for verified evidence."""
    claims = verdict.claims
    if claims is None or not isinstance(appraiser.snapshot, RegistrySnapshot):
        return None, None
    try:
        placement = check_platform(
            appraiser.snapshot,
            claims.platform_id,
            policy=appraiser.cloud_policy,
            now=appraiser.now,
            provider_operated="aws" if claims.tee is Tee.NITRO else None,
        )
    except AttestationError:
        return None, None  # the step of the verdict says why
    place = Place(provider=placement.provider, region=placement.region, level=placement.level, label=placement.label)
    return place, placement.valid_until


def _facts(appraiser: Appraiser) -> list[tuple[str, str]]:
    vendors = [anchor.common_name for anchor in appraiser.roots.anchors]
    facts = [("Roots trusted", ", ".join(vendors))]
    if isinstance(appraiser.collateral, Collateral):
        facts.append(("Collateral set", appraiser.collateral.digest.hex()))
    if isinstance(appraiser.release, ReleaseManifest):
        facts.append(("Release", f"{appraiser.release.title}, source {appraiser.release.source}"))
    if isinstance(appraiser.snapshot, RegistrySnapshot):
        told = f"{appraiser.snapshot.origin}, restated {format_instant(appraiser.snapshot.issued_at)}"
        facts.append(("Registry", told))
    return facts
