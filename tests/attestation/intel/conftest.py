"""Fixtures of the Intel tests."""

from __future__ import annotations

import pytest

from tests.attestation.intel.kit import Kit


@pytest.fixture(scope="session")
def kit() -> Kit:
    """One simulated vendor with one machine, made once."""
    return Kit.create()
