"""Where a verb reads keys and passwords from: files, standard input or a hidden prompt, never the command line.

Rules kept: nothing that was typed or read is repeated in a message; a key found on the command line is named as leaked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from kms.cli.failure import UsageError

INPUT_BYTES_MAX = 64 << 10
"""Largest source in bytes: 256 SLIP-39 shares."""

PASSWORD_BYTES_MAX = 4096

_LOOKS_SECRET = re.compile(r"(0[xX])?[0-9a-fA-F]{64,}|\S+(\s+\S+){5,}")


def read_source(path: str | None, *, prompt: str, lines: bool) -> bytearray:
    """The content of a file, of standard input (`-`, or a pipe), or what is typed unseen; overwrite it after use.

    `lines` lets several lines be typed, an empty one ends.  Raises UsageError.
    """
    if path is None and sys.stdin.isatty():
        return _typed(prompt, lines=lines)
    if path is None or path == "-":
        return _limited(sys.stdin.buffer.read(INPUT_BYTES_MAX + 1), "standard input", INPUT_BYTES_MAX)
    if _LOOKS_SECRET.fullmatch(path) and not Path(path).exists():
        raise UsageError(
            "that is a key, not a file",
            hint="it is in your shell's history and was visible to others on this machine: treat it as leaked",
        )
    return _limited(_read_file(Path(path), INPUT_BYTES_MAX), path, INPUT_BYTES_MAX)


def read_password(path: Path | None, prompt: Callable[[], str]) -> bytearray:
    """The first line of a file, or what `prompt` asks for; raises UsageError."""
    if path is None:
        return bytearray(prompt().encode())
    content = _limited(_read_file(path, PASSWORD_BYTES_MAX), str(path), PASSWORD_BYTES_MAX)
    line = bytearray(content.split(b"\n", 1)[0].rstrip(b"\r"))
    content[:] = bytes(len(content))
    return line


def ask_password(text: str, *, twice: bool = False) -> str:
    """Type a password unseen; raises UsageError where there is no terminal."""
    if not sys.stdin.isatty():
        raise UsageError("no terminal to ask for a password at", hint="pass --password-file FILE")
    answer = click.prompt(text, hide_input=True, confirmation_prompt=twice, err=True)
    return str(answer)


def confirm(question: str) -> None:
    """Go on only after a yes; raises UsageError where there is no terminal, click.Abort on a no."""
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm", hint="pass --yes after looking at what is shown above")
    click.confirm(question, abort=True, err=True)


def _typed(prompt: str, *, lines: bool) -> bytearray:
    typed = []
    while True:
        line = str(click.prompt(prompt, hide_input=True, default="", show_default=False, err=True))
        typed.append(line)
        if not lines or not line:
            return bytearray("\n".join(typed).encode())
        prompt = "next (empty to end)"


def _read_file(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _limited(data: bytes, name: str, most: int) -> bytearray:
    if len(data) > most:
        raise UsageError(f"{name} is larger than {most} bytes")
    return bytearray(data)
