"""`attest release`: sign release manifests and show who signed them."""

from __future__ import annotations

from pathlib import Path

import click

from attestation.canonical import canonical_json, parse_json
from attestation.cli import render
from attestation.cli.options import Instant, current_time, read_file, read_public_keys
from attestation.envelope import Envelope, key_id
from attestation.errors import DocumentError
from attestation.instant import format_instant
from attestation.release.keys import read_private_key
from attestation.release.manifest import PAYLOAD_TYPE, ReleaseManifest

_PATH = click.Path(path_type=Path, allow_dash=True)


@click.group("release")
def command() -> None:
    """Sign release manifests, and show what they say and who signed them."""


@command.command("sign")
@click.argument("file", type=_PATH)
@click.option("--key", "key_path", required=True, type=_PATH, help="Ed25519 private key (PKCS #8 PEM).")
@click.option("--out", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Default: standard output.")
def sign(file: Path, key_path: Path, out: Path | None) -> None:
    """Add one signature to the manifest in FILE: the bare JSON payload, or an envelope others have signed."""
    try:
        value = parse_json(read_file(file))
        is_envelope = isinstance(value, dict) and "payload" in value
        envelope = Envelope.parse(value) if is_envelope else ReleaseManifest.from_payload(value).envelope()
        manifest = ReleaseManifest.from_payload(envelope.value())
        signed = envelope.signed(read_private_key(read_file(key_path)))
    except DocumentError as error:
        raise click.UsageError(str(error)) from None
    if envelope.payload_type != PAYLOAD_TYPE:
        raise click.UsageError(f"expected {PAYLOAD_TYPE}")
    data = canonical_json(signed.to_json()) + b"\n"
    if out is None:
        click.echo(data, nl=False)
    else:
        out.write_bytes(data)
    click.echo(f"{manifest.title}: {len(signed.signatures)} signatures", err=True)


@command.command("show")
@click.argument("file", type=_PATH)
@click.option("--key", "key_paths", multiple=True, type=_PATH, help="Public key of a release maker; may be repeated.")
@click.option("--threshold", type=click.IntRange(1), help="Signatures needed; default: of every key given.")
@click.option("--at", type=Instant(), help="As of this time; default now.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def show(file: Path, key_paths: tuple[Path, ...], threshold: int | None, at: int | None, as_json: bool) -> None:
    """Show the release in FILE.  Exit code 0: signed by enough of the keys and in force; 1: not; 2: usage."""
    keys = read_public_keys(key_paths)
    try:
        data = read_file(file)
        envelope = Envelope.parse(data)
        manifest = ReleaseManifest.from_payload(envelope.value())
        signers = sorted(key_id(key) for key in envelope.signers(keys))
        error = _opened(data, keys, threshold, current_time() if at is None else at)
    except DocumentError as unreadable:
        click.echo(f"error: {unreadable}", err=True)
        raise SystemExit(1) from None
    facts = {**manifest.payload(), "signed_by": signers, "accepted": error is None}
    if as_json:
        click.echo(canonical_json(facts))
    else:
        render.console().print(render.facts_table(_rows(manifest, signers)))
    if error is not None:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(1)


def _opened(data: bytes, keys: tuple[bytes, ...], threshold: int | None, now: int) -> DocumentError | None:
    try:
        ReleaseManifest.open(data, keys=keys, threshold=threshold or max(1, len(keys)), now=now)
    except DocumentError as error:
        return error
    return None


def _rows(manifest: ReleaseManifest, signers: list[str]) -> list[tuple[str, str]]:
    rows = [
        ("release", manifest.title),
        ("source", manifest.source),
        ("issued", format_instant(manifest.issued_at)),
        ("expires", format_instant(manifest.expires_at)),
        ("signed by", ", ".join(signers) or "none of the keys given"),
    ]
    for image in manifest.images:
        rows.append((f"{image.tee.value} {image.name}", ""))
        rows += [(f"  {name}", value) for name, value in image.registers.items()]
    return rows
