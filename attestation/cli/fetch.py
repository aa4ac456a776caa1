"""`attest fetch`: current vendor collateral into a directory, each document verified before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from attestation.canonical import canonical_json
from attestation.cli import render
from attestation.cli.options import HexBytes, Instant, current_time, read_evidence, read_roots
from attestation.errors import AttestationError, CollateralError
from attestation.evidence import Tee
from attestation.fetch.http import TIMEOUT_S
from attestation.fetch.source import ATTEMPTS, Source
from attestation.fetch.subject import PRODUCTS, AmdSubject, IntelSubject, subject_of
from attestation.instant import format_instant

if TYPE_CHECKING:
    from attestation.fetch.run import Report, Subject

ENDPOINTS_VARIABLE = "ATTEST_ENDPOINTS"
INCOMPLETE = 3
"""Exit code when a platform's set could not be completed: cannot tell, as for `attest verify`."""


@click.command("fetch")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--into", "directory", required=True, type=click.Path(path_type=Path, file_okay=False), help="Directory to fill."
)
@click.option("--fmspc", type=HexBytes(), help="Intel: family-model-stepping code, 6 bytes in hex, without evidence.")
@click.option("--tee", type=click.Choice(["tdx", "sgx"]), default="tdx", show_default=True, help="With --fmspc.")
@click.option(
    "--ca", type=click.Choice(["platform", "processor"]), default="platform", show_default=True, help="With --fmspc."
)
@click.option("--product", type=click.Choice(PRODUCTS), help="AMD: chain and revocation list, without evidence.")
@click.option("--chip-id", type=HexBytes(), help="AMD, with --product and --tcb: the chip's certificate too.")
@click.option("--tcb", type=HexBytes(), help="AMD: REPORTED_TCB, 8 bytes in hex as in the report.")
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    envvar=ENDPOINTS_VARIABLE,
    help="[intel=|amd=]URL of a mirror, asked instead of the vendor; may be repeated, tried in order.",
)
@click.option("--early", is_flag=True, help="Intel: the TCB level that will be required next.")
@click.option("--root", "root_paths", multiple=True, type=click.Path(path_type=Path), help="Trust this root instead.")
@click.option("--at", type=Instant(), help="Judge dates as of this time instead of now.")
@click.option("--attempts", type=click.IntRange(1, 20), default=ATTEMPTS, show_default=True, help="Rounds of asking.")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 300), default=TIMEOUT_S, show_default=True, help="Seconds per answer."
)
@click.option("--quiet", "-q", is_flag=True, help="No progress on standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one line of JSON.")
def command(
    files: tuple[Path, ...],
    directory: Path,
    fmspc: bytes | None,
    tee: str,
    ca: str,
    product: str | None,
    chip_id: bytes | None,
    tcb: bytes | None,
    endpoints: tuple[str, ...],
    early: bool,
    root_paths: tuple[Path, ...],
    at: int | None,
    attempts: int,
    timeout: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Fill a directory with what verifying the evidence in FILES needs.

    Nothing is believed for having been fetched: signatures, roles and dates are checked under
    the pinned roots first, and a newer document is never replaced by an older one.  Exit code 0:
    the directory holds a complete, current set for every platform; 1: the evidence does not parse;
    2: usage; 3: something could not be had.
    """
    from attestation.fetch.endpoints import parse_endpoints
    from attestation.fetch.run import fetch_all
    from attestation.fetch.store import CollateralDirectory

    subjects = [*_from_evidence(files), *_by_hand(fmspc, tee, ca, product, chip_id, tcb)]
    if not files and not subjects:
        raise click.UsageError("name evidence files, --fmspc or --product")
    try:
        source = Source(
            endpoints=parse_endpoints(endpoints),
            attempts=attempts,
            timeout_s=timeout,
            say=(lambda _: None) if quiet else (lambda line: click.echo(line, err=True)),
        )
        report = fetch_all(
            list(dict.fromkeys(subjects)),
            CollateralDirectory(directory),
            source,
            roots=read_roots(root_paths),
            now=current_time if at is None else lambda: at,
            early=early,
        )
    except CollateralError as error:
        raise click.UsageError(error.detail) from None
    if as_json:
        click.echo(canonical_json(report.to_json()))
    else:
        _show(report)
    for alarm in report.alarms:
        click.echo(f"alarm: {alarm}", err=True)
    for failure in report.errors:
        click.echo(f"error: {failure}", err=True)
        if failure.hint is not None:
            render.hint(failure.hint)
    raise SystemExit(INCOMPLETE if report.errors else 0)


def _from_evidence(files: tuple[Path, ...]) -> list[Subject]:
    subjects: list[Subject] = []
    for file in files:
        try:
            subject = subject_of(read_evidence(file))
        except AttestationError as error:
            click.echo(f"error: {file}: {error}", err=True)
            raise SystemExit(1) from None
        if subject is None:
            click.echo(f"{file}: a Nitro document carries its whole chain and needs no collateral", err=True)
            continue
        if isinstance(subject, AmdSubject) and subject.chip_id is None:
            click.echo(f"{file}: names no chip; its signing certificate has to come from the host", err=True)
        subjects.append(subject)
    return subjects


def _by_hand(
    fmspc: bytes | None, tee: str, ca: str, product: str | None, chip_id: bytes | None, tcb: bytes | None
) -> list[Subject]:
    subjects: list[Subject] = []
    if fmspc is not None:
        if len(fmspc) != 6:
            raise click.UsageError("expected --fmspc as 6 bytes in hex")
        subjects.append(IntelSubject(tee=Tee(tee), fmspc=fmspc, authority=ca))
    if product is None and (chip_id or tcb):
        raise click.UsageError("--chip-id and --tcb go with --product")
    if product is not None:
        if (chip_id is None) != (tcb is None):
            raise click.UsageError("--chip-id and --tcb go together")
        if chip_id is not None and len(chip_id) not in ((8, 64) if product == "Turin" else (64,)):
            raise click.UsageError("expected --chip-id as 64 bytes in hex (8 on Turin)")
        if tcb is not None and len(tcb) != 8:
            raise click.UsageError("expected --tcb as 8 bytes in hex")
        subjects.append(AmdSubject(products=(product,), kind="vcek", chip_id=chip_id, reported_tcb=tcb))
    return subjects


def _show(report: Report) -> None:
    for note in report.notes:
        until = f"issued {format_instant(note.issued)}, next update {format_instant(note.next_update)}"
        why = f" ({note.reason})" if note.reason is not None else ""
        click.echo(f"{note.outcome:<10} {note.name}: {until}{why}")
    for name in report.shared:
        click.echo(f"{'shared':<10} {name}: another run has just fetched it")
    for name in report.files:
        click.echo(f"{'ready':<10} {name}")
