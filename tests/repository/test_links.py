"""Every relative link in the documents leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "specs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(document: Path) -> None:
    """A relative link of this document names a file or folder that exists."""
    missing = [target for target in LINK.findall(document.read_text()) if not (document.parent / target).exists()]
    assert missing == []


def test_every_specification_is_listed() -> None:
    """specs/README.md links every specification, so a reader can find them all."""
    index = (ROOT / "specs" / "README.md").read_text()
    files = [path.name for path in (ROOT / "specs").glob("*.md") if path.name != "README.md"]
    assert [name for name in files if f"({name})" not in index] == []
