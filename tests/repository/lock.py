"""Writes and checks the hash-pinned requirements, one file per extra.

    python -m tests.repository.lock            compile requirements/*.txt anew
    python -m tests.repository.lock --check    exit 1 if pyproject.toml changed since they were compiled

Each file starts with a digest of the dependency tables it was compiled from, so the check needs no
network.  No file carries the address of a package index.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("base", "build", "node", "gateway", "client", "backup", "dev")
"""`base` is the plain install, `build` what turns a checkout into a wheel, the rest are the extras."""
COOLDOWN = datetime.timedelta(days=7)
"""Releases younger than this are not taken: most poisoned uploads are found within days."""


def inputs_digest() -> str:
    """SHA-256 over the dependency tables of pyproject.toml in canonical JSON."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    tables = {"base": project["dependencies"], **project["optional-dependencies"], "python": project["requires-python"]}
    tables["build"] = document["build-system"]["requires"]
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def problems() -> list[str]:
    """What is wrong with the committed files, one line each; empty when they are in step."""
    found = []
    for extra in EXTRAS:
        path = ROOT / "requirements" / f"{extra}.txt"
        text = path.read_text() if path.exists() else ""
        if f"# inputs: sha256:{inputs_digest()}\n" not in text:
            found.append(f"{path.name} was not compiled from this pyproject.toml")
        if "://" in text or "--index" in text or "--find-links" in text:
            found.append(f"{path.name} carries an address")
        pins = [line for line in text.splitlines() if "==" in line and not line.startswith("#")]
        if not pins or text.count("--hash=sha256:") < len(pins):
            found.append(f"{path.name} has a pin without a hash")
    return found


def compile_all() -> None:
    """Resolve each extra and write its file."""
    newest = (datetime.datetime.now(datetime.UTC) - COOLDOWN).date().isoformat()
    for extra in EXTRAS:
        path = ROOT / "requirements" / f"{extra}.txt"
        source, selection = "pyproject.toml", [] if extra in ("base", "build") else ["--extra", extra]
        if extra == "build":
            source = "-"
        command = ["uv", "pip", "compile", source, *selection, "--generate-hashes", "--universal"]
        command += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate", "--quiet"]
        command += ["--python-version", "3.11", "--exclude-newer", newest]
        build = "\n".join(tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"])
        result = subprocess.run(command, cwd=ROOT, check=True, input=build, capture_output=True, text=True)
        header = f"# Compiled by `make lock`; do not edit.  Extra: {extra}.\n# inputs: sha256:{inputs_digest()}\n"
        path.write_text(header + result.stdout)
        print(f"wrote requirements/{extra}.txt")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    if parser.parse_args().check:
        for problem in (found := problems()):
            print(f"{problem}: run `make lock`", file=sys.stderr)
        return 1 if found else 0
    compile_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
