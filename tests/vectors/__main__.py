"""Writes the synthetic set, or its committed index."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.vectors.catalogue import INDEX, every_case, index


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.vectors", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", help="where to write every case")
    parser.add_argument("--update", action="store_true", help="write tests/vectors/INDEX.json anew")
    arguments = parser.parse_args()
    text = json.dumps(index(), indent=1) + "\n"
    if arguments.update:
        INDEX.write_text(text)
    if arguments.directory:
        arguments.directory.mkdir(parents=True, exist_ok=True)
        for case in every_case():
            for name, content in case.files.items():
                (arguments.directory / name).write_bytes(content)
        (arguments.directory / "INDEX.json").write_text(text)
    if not arguments.update and not arguments.directory:
        parser.error("name a directory, or --update")
    print(f"{len(every_case())} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
