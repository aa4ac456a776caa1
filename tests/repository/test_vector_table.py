"""specs/vectors/README.md names every published crypto vector file, and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT.parent / "shared" / "vectors" / "crypto"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "specs" / "vectors" / "README.md").read_text().splitlines()
    if re.match(r"\| `[a-z0-9_]+/", line)
]


def names(cell: str) -> list[str]:
    """The files a cell names; those after the first are in the folder of the first."""
    first, *rest = re.findall(r"`([^`]+)`", cell)
    return [first, *(str(Path(first).parent / name) for name in rest)]


def test_every_published_file_has_a_row() -> None:
    """No file of the folder is left out, and none is named that is not there."""
    if not PUBLISHED.exists():
        pytest.skip("the published vectors (../shared/vectors/crypto) are not here")
    found = {
        str(path.relative_to(PUBLISHED))
        for path in PUBLISHED.rglob("*")
        if path.suffix in (".json", ".csv", ".txt", ".input")
    }
    assert sorted(name for row in ROWS for name in names(row[0])) == sorted(found)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: names(row[0])[0])
def test_rows_name_a_test_or_a_reason(row: list[str]) -> None:
    """A row's tests exist and read that file's folder; a row without tests says why."""
    _, _, reason, tests = row
    if not tests:
        assert len(reason) > 5
        return
    folder = names(row[0])[0].partition("/")[0]
    texts = []
    for name in re.findall(r"`([^`]+)`", tests):
        path = ROOT / "tests" / "enclave" / name
        assert path.exists(), name
        texts.append(path.read_text())
    assert any(folder in text for text in texts), folder
