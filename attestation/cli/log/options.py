"""What the verbs of `attest log` share: proofs from files, and how a refusal ends the program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from attestation.canonical import parse_json
from attestation.cli.options import read_file
from attestation.errors import DocumentError, ReceiptError
from attestation.receipts.reading import blob, items

T = TypeVar("T")


def read_proof(path: Path) -> tuple[bytes, ...]:
    """Hashes from a file as `GET /v1/log/proof` answers, or a bare list of them."""
    try:
        value = parse_json(read_file(path))
        listed = value.get("proof") if isinstance(value, dict) else value
        return tuple(blob(item, "proof", size=32) for item in items(listed, "proof", high=126))
    except (DocumentError, ReceiptError) as error:
        raise click.UsageError(f"{path}: {error.detail}") from None


def checked(work: Callable[[], T]) -> T:
    """The result of `work`, or exit code 1 with its reason."""
    try:
        return work()
    except (ReceiptError, DocumentError) as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None


def identity_key(value: bytes | None) -> bytes | None:
    """A key as given, or a usage error."""
    if value is not None and len(value) != 32:
        raise click.UsageError("expected an identity key of 32 bytes (64 hex digits)")
    return value
