"""What several verbs read from the command line: evidence files, instants, hex, policies.

Rule: a value that cannot be read is a usage error (exit code 2), never a verdict.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from attestation.canonical import parse_json
from attestation.errors import AttestationError, DocumentError, PolicyError
from attestation.instant import parse_instant
from attestation.limits import BLOB_BYTES_MAX, TIME_MAX
from attestation.policy import AppraisalPolicy
from attestation.release.keys import read_public_key
from attestation.release.manifest import ReleaseManifest
from attestation.roots import Roots

_HEX = frozenset(b"0123456789abcdefABCDEF")


class Instant(click.ParamType[int]):
    """RFC 3339 or Unix seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Unix seconds."""
        if isinstance(value, int):
            return value
        text = str(value)
        seconds = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else parse_instant(text)
        if seconds is None or not 0 <= seconds <= TIME_MAX:
            self.fail(f"{text!r} is neither RFC 3339 (2026-01-31T12:00:00Z) nor Unix seconds", param, ctx)
        return seconds


class HexBytes(click.ParamType[bytes]):
    """Bytes in hex."""

    name = "hex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """The bytes."""
        if isinstance(value, bytes):
            return value
        text = str(value)
        if len(text) % 2 or not set(text.encode()) <= _HEX:
            self.fail(f"{text[:40]!r} is not hex", param, ctx)
        return bytes.fromhex(text)


def read_file(path: Path) -> bytes:
    """The contents of a file, at most as much as any input may have; `-` is standard input."""
    try:
        with sys.stdin.buffer if str(path) == "-" else path.open("rb") as file:
            data: bytes = file.read(BLOB_BYTES_MAX + 1)
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > BLOB_BYTES_MAX:
        raise click.UsageError(f"{path} is larger than {BLOB_BYTES_MAX} bytes")
    return data


def read_evidence(path: Path) -> bytes:
    """Evidence from a file, raw or as hex text."""
    data = read_file(path)
    text = data.strip().removeprefix(b"0x")
    if len(text) >= 2 and len(text) % 2 == 0 and set(text) <= _HEX:
        return bytes.fromhex(text.decode("ascii"))
    return data


def read_policy(path: Path) -> tuple[AppraisalPolicy, bool]:
    """The policy of a file, and whether it says which roots are allowed."""
    try:
        value = parse_json(read_file(path))
        policy = AppraisalPolicy.from_json(value)
    except (DocumentError, PolicyError) as error:
        raise click.UsageError(f"{path}: {error}") from None
    return policy, "allowed_roots" in value


def read_roots(paths: tuple[Path, ...]) -> Roots:
    """The roots of these files, or the pinned vendor roots if there are none."""
    if not paths:
        return Roots.production()
    try:
        return Roots.of(read_file(path) for path in paths)
    except AttestationError as error:
        raise click.UsageError(f"--root: {error}") from None


def read_public_keys(paths: tuple[Path, ...]) -> tuple[bytes, ...]:
    """Raw Ed25519 public keys of these files, each once."""
    try:
        keys = tuple(dict.fromkeys(read_public_key(read_file(path)) for path in paths))
    except DocumentError as error:
        raise click.UsageError(str(error)) from None
    if len(keys) != len(paths):
        raise click.UsageError("the same public key is given twice")
    return keys


def read_release(
    path: Path | None, key_paths: tuple[Path, ...], threshold: int | None, now: int
) -> ReleaseManifest | AttestationError | None:
    """The release manifest of `path`, or why it does not count: too few signatures, or not in force."""
    if path is None:
        if key_paths or threshold:
            raise click.UsageError("--release-key and --release-threshold go with --release")
        return None
    keys = read_public_keys(key_paths)
    if not keys:
        raise click.UsageError("--release needs the makers' keys: --release-key")
    if threshold is not None and threshold > len(keys):
        raise click.UsageError(f"--release-threshold {threshold} cannot be reached with {len(keys)} keys")
    try:
        return ReleaseManifest.open(read_file(path), keys=keys, threshold=threshold or len(keys), now=now)
    except DocumentError as error:
        return error


def current_time() -> int:
    """The wall clock, in Unix seconds."""
    return int(time.time())
