"""Every row of the catalogue of adversarial cases (numbers 1 to 107) has a test that names it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.vectors.catalogue import every_case

TESTS = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"def test_rows?_([0-9]+)(?:_(?:to|and)_([0-9]+))?")
ROWS = range(1, 108)


def named_rows() -> set[int]:
    """Row numbers in names and first lines of tests, and those of the synthetic set's cases."""
    rows = {case.row for case in every_case()}
    for path in TESTS.rglob("test_*.py"):
        text = path.read_text()
        for first, last in NAMED.findall(text):
            rows.update(range(int(first), int(last or first) + 1))
        for line in re.findall(r'"""Rows? [^\n]*', text):
            head = line.partition(":")[0]
            numbers = [int(number) for number in re.findall(r"[0-9]+", head)]
            if not numbers:
                continue
            rows.update(range(numbers[0], numbers[-1] + 1) if " to " in head else numbers)
    return rows


def test_every_row_has_a_test() -> None:
    """No row of the catalogue is left without a test."""
    assert sorted(set(ROWS) - named_rows()) == []
