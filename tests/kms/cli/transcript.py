"""Runs transcripts: what a person types and sees, as text files.

    $ kms keys show key_x          a command; `echo TEXT |` in front gives it input, `|` joins commands
    a line                         expected on stdout; `[..]` stands for anything within a line
    ! a line                       expected on stderr
    [...]                          any number of further lines of stdout
    ? 2                            expected exit code, 0 when absent
    # a remark
`<NAME>` in expected output takes a word the first time and must equal it afterwards, commands included.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from kms.cli import main


@dataclass(slots=True)
class Step:
    """One command with what is expected of it."""

    line: int
    command: str
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    exit_code: int = 0


def read_transcript(path: Path) -> list[Step]:
    """The steps of a transcript file."""
    steps: list[Step] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.startswith("$ "):
            steps.append(Step(line=number, command=line[2:]))
        elif line == "!" or line.startswith("! "):
            steps[-1].stderr.append(line[2:])
        elif line.startswith("? "):
            steps[-1].exit_code = int(line[2:])
        elif line and not line.startswith("#"):
            steps[-1].stdout.append(line)
    return steps


def play(path: Path, environment: dict[str, str], words: dict[str, str] | None = None) -> None:
    """Run every step; fails with the transcript's line, what was expected and what was found."""
    bound = dict(words or {})
    for step in read_transcript(path):
        code, stdout, stderr = _run(_filled(step.command, bound), environment)
        shown = f"{path.name}:{step.line}: $ {step.command}\n--- stdout\n{stdout}--- stderr\n{stderr}--- exit {code}"
        assert code == step.exit_code, f"expected exit {step.exit_code}\n{shown}"
        _match(step.stdout, stdout.splitlines(), bound, shown)
        if step.stderr:
            _match(step.stderr, stderr.splitlines(), bound, shown)


def _run(command: str, environment: dict[str, str]) -> tuple[int, str, str]:
    data = b""
    code, stderr = 0, ""
    for part in command.split(" | "):
        words = shlex.split(part)
        if words[0] == "echo":
            data = (" ".join(words[1:]) + "\n").encode()
            continue
        assert words[0] == "kms", part
        result = CliRunner().invoke(main, words[1:], input=data, env=environment)
        data, code, stderr = result.stdout_bytes, result.exit_code, stderr + result.stderr
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
    return code, data.decode("utf-8", "replace"), stderr


def _match(expected: list[str], found: list[str], bound: dict[str, str], shown: str) -> None:
    at = 0
    for position, line in enumerate(expected):
        if line == "[...]":
            following = expected[position + 1 : position + 2]
            while at < len(found) and not (
                following and re.fullmatch(_pattern(following[0], bound), found[at].rstrip())
            ):
                at += 1
            continue
        assert at < len(found), f"expected {line!r}\n{shown}"
        pattern = _pattern(line, bound)
        match = re.fullmatch(pattern, found[at].rstrip())
        assert match, f"expected {line!r}, found {found[at]!r}\n{shown}"
        bound.update(match.groupdict())
        at += 1
    assert at == len(found), f"expected no more lines after {expected[-1:]}\n{shown}"


def _pattern(line: str, bound: dict[str, str]) -> str:
    pieces = re.split(r"(<[A-Z_]+>|\[\.\.\])", line)
    pattern = ""
    for piece in pieces:
        if piece == "[..]":
            pattern += ".*"
        elif re.fullmatch(r"<[A-Z_]+>", piece):
            name = piece[1:-1]
            pattern += re.escape(bound[name]) if name in bound else f"(?P<{name}>\\S+)"
        else:
            pattern += re.sub(r"(\\ )+", r"\\s+", re.escape(piece))
    return pattern


def _filled(text: str, bound: dict[str, str]) -> str:
    return re.sub(r"<([A-Z_]+)>", lambda match: bound[match[1]], text)
