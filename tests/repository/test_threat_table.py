"""specs/threat-tests.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"T": "tests/enclave/threshold", "N": "tests/enclave/node", "E": "tests/enclave", "K": "tests/kms"}
ROWS = [line for line in (ROOT / "specs" / "threat-tests.md").read_text().splitlines() if line.startswith("| ")]


def named(row: str) -> list[tuple[Path, str]]:
    """(file, test) of a row; `::name` is in the file named before it."""
    found = []
    file = Path()
    for folder, path, name in re.findall(r"`(?:([TNEK])/([\w/]+\.py))?::(\w+)`", row):
        if folder:
            file = ROOT / FOLDERS[folder] / path
        found.append((file, name))
    return found


@pytest.mark.parametrize("row", [row for row in ROWS if "::" in row], ids=lambda row: row.split("|")[1].strip()[:60])
def test_named_tests_exist(row: str) -> None:
    """Each test of the row is defined in the file it is said to be in."""
    for file, name in named(row):
        assert re.search(rf"def {name}\(", file.read_text()), f"{file}: {name}"


def test_every_row_names_a_test() -> None:
    """A row without a test would be a claim."""
    content = [row for row in ROWS if not row.startswith(("| entry", "| attack", "| party"))]
    assert content
    assert [row[:60] for row in content if not named(row)] == []
