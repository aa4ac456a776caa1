"""What every family of problem codes means, for the pages that `type` names (problem_families.json)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Family:
    """Codes that begin alike."""

    prefix: str
    """`token.` for a family, a whole code for a single one."""
    title: str
    meaning: str
    remedy: str


def _load() -> tuple[Family, ...]:
    text = (files(__package__) / "problem_families.json").read_text("utf-8")
    return tuple(Family(**item) for item in json.loads(text))


FAMILIES: tuple[Family, ...] = _load()
"""Every family, by prefix."""


def family_of(code: str) -> Family | None:
    """The family of a code, or None if no code begins like that."""
    fitting = [family for family in FAMILIES if code.startswith(family.prefix)]
    return max(fitting, key=lambda family: len(family.prefix), default=None)
