"""Where the published evidence lives; tests that need it skip with a stated reason where it is absent."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "attestation"
PRESENT = (ROOT / "MANIFEST.json").exists()
NEEDED = pytest.mark.skipif(not PRESENT, reason="the shared evidence (../shared/vectors/attestation) is not here")

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


@cache
def manifest() -> dict[str, Any]:
    """The index of all shared evidence; empty lists where the folder is absent."""
    if not PRESENT:
        return {"entries": [], "synthetic": []}
    loaded: dict[str, Any] = json.loads((ROOT / "MANIFEST.json").read_text())
    return loaded


def entries(kind: str) -> list[dict[str, Any]]:
    """The manifest entries of one kind."""
    return [entry for entry in manifest()["entries"] if entry["kind"] == kind]


@cache
def synthetic(name: str) -> dict[str, Any]:
    """The index of one synthetic set ("intel", "snp", "nitro")."""
    if not PRESENT:
        return {"cases": []}
    loaded: dict[str, Any] = json.loads((ROOT / "synthetic" / name / "INDEX.json").read_text())
    return loaded


def read(relative: str) -> bytes:
    """One file of the shared evidence."""
    return (ROOT / relative).read_bytes()


def unix(text: str) -> int:
    """Unix seconds of an RFC 3339 time."""
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def pem_certificates(text: str) -> list[bytes]:
    """The DER certificates of a PEM text, in order."""
    return [base64.b64decode(match) for match in _PEM.findall(text)]
