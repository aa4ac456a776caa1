"""Read and write whole files for verbs: bounded input, no partial output."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from kms.cli.failure import UsageError

INPUT_BYTES_MAX = 1 << 20
"""Largest input in bytes: the API takes bodies of 1 MiB."""


def read_limited(file: BinaryIO) -> bytes:
    """All of `file`; raises UsageError above 1 MiB."""
    data = file.read(INPUT_BYTES_MAX + 1)
    if len(data) > INPUT_BYTES_MAX:
        raise UsageError(f"{file.name} is larger than {INPUT_BYTES_MAX} bytes")
    return data


def write_output(path: Path | None, data: bytes, *, private: bool = False) -> None:
    """Write to stdout, or to `path` whole or not at all; `private` makes the file mode 0600."""
    if path is None:
        sys.stdout.buffer.write(data)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def parse_context(texts: tuple[str, ...]) -> dict[str, str]:
    """An encryption context from NAME=VALUE pairs; raises UsageError."""
    context = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or name in context:
            raise UsageError(f"expected distinct NAME=VALUE, found {text!r}")
        context[name] = value
    return context
