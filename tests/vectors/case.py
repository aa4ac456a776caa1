"""One synthetic case: evidence, everything needed to judge it, and what must come out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`expected` is the code evidence is refused with, or "" if it verifies; then `policy` may name a rule's code."""

    name: str
    row: int
    """Row of the catalogue of adversarial cases this case stands for."""
    evidence: bytes
    collateral: tuple[bytes, ...]
    roots: tuple[bytes, ...]
    now: int
    expected: str
    policy: str | None = None

    @property
    def files(self) -> dict[str, bytes]:
        """File name to content, as the generator writes them."""
        names = {f"{self.name}.evidence": self.evidence}
        names |= {f"{self.name}.collateral-{number}": blob for number, blob in enumerate(self.collateral)}
        return names | {f"{self.name}.root-{number}": blob for number, blob in enumerate(self.roots)}

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all files, names and lengths included."""
        total = hashlib.sha256()
        for name, content in self.files.items():
            total.update(f"{name} {len(content)}\n".encode() + content)
        return total.hexdigest()

    def to_json(self) -> dict[str, object]:
        """The index entry."""
        return {
            "name": self.name,
            "row": self.row,
            "now": self.now,
            "expected": self.expected or "verifies",
            "policy": self.policy,
            "sha256": self.digest,
        }
