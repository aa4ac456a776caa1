"""Runs both instruments and judges them; the only part that starts processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.ct.openssl_counts import SECRET_FUNCTIONS
from tests.ct.shim import build
from tests.ct.verdict import Verdict, judge_callgrind, judge_memcheck

ROOT = Path(__file__).parents[2]
RESIDUES = Path(__file__).with_name("residues.json")
TIMEOUT_S = 300
"""Either instrument takes seconds; this only ends a hung run."""

_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc", "PYTHONDONTWRITEBYTECODE": "1"}
"""Plain malloc, or memcheck sees pools instead of objects."""


def run(say: Callable[[str], None]) -> Verdict:
    """Measures everything, reporting progress through `say`."""
    verdict = Verdict()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        library = build(directory)
        lines = []
        for line in memcheck(directory, library):
            lines.append(line)
            say(f"memcheck  {line['kind']:8}{line['errors']:>5}  {line['name']}")
        judge_memcheck(verdict, lines, json.loads(RESIDUES.read_text()))
        counts = callgrind(directory, library)
        for function, by_secret in counts.items():
            say(f"callgrind {'/'.join(str(count) for count in sorted(set(by_secret.values()))):>13}  {function}")
        judge_callgrind(verdict, counts)
    verdict.check_complete()
    return verdict


def memcheck(directory: Path, library: Path) -> Iterator[dict[str, Any]]:
    """{kind, name, errors} of every control and case, as they come."""
    command = ["valgrind", "-q", "--error-limit=no", f"--log-file={directory / 'memcheck.log'}"]
    command += [sys.executable, "-m", "tests.ct.memcheck", str(library)]
    environment = os.environ | _ENVIRONMENT | {"TMPDIR": str(directory)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
        if process.wait(TIMEOUT_S) != 0:
            raise RuntimeError(f"the memcheck driver ended with {process.returncode}")


def callgrind(directory: Path, library: Path) -> dict[str, dict[str, int]]:
    """Instructions by function and secret: of single primitives, and of OpenSSL's functions on P-256 keys."""
    by_symbol = [f"--toggle-collect={symbol}" for symbol in SECRET_FUNCTIONS]
    return {
        **_counts(directory / "primitives", library, "tests.ct.callgrind", ["--collect-atstart=no"]),
        **_counts(directory / "openssl", library, "tests.ct.openssl_counts", by_symbol),
    }


def _counts(out: Path, library: Path, module: str, options: list[str]) -> dict[str, dict[str, int]]:
    command = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", *options]
    command += [sys.executable, "-m", module, str(library)]
    subprocess.run(command, cwd=ROOT, env=os.environ | _ENVIRONMENT, check=True, timeout=TIMEOUT_S)
    counts: dict[str, dict[str, int]] = {}
    for path in sorted(out.parent.glob(f"{out.name}.*"), key=lambda path: int(path.suffix[1:])):
        tag, total = None, None
        for line in path.read_text().splitlines():
            if line.startswith("desc: Trigger: Client Request: "):
                tag = line.removeprefix("desc: Trigger: Client Request: ")
            elif line.startswith("totals: "):
                total = int(line.removeprefix("totals: "))
        if tag is not None and total is not None:
            function, secret = tag.split("|")
            counts.setdefault(function, {})[secret] = total
    return counts
