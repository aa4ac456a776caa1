"""Fixtures of the attestation tests."""

from __future__ import annotations

from tests.attestation.world import world

__all__ = ["world"]
