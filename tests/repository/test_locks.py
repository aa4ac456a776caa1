"""The committed requirements are in step with pyproject.toml and carry hashes, never addresses."""

from __future__ import annotations

from tests.repository.lock import problems


def test_locks_are_in_step() -> None:
    """Every requirements file was compiled from this pyproject.toml, with hashes and without addresses."""
    assert problems() == []
