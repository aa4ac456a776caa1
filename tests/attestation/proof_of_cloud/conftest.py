"""A development registry on disk, with one listed machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attestation.errors import StatementError
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.snapshot import RegistrySnapshot

NOW = 1_790_000_000
DAY = 86_400
MACHINE = PlatformId(kind="intel:ppid", value=b"\x21" * 16)
OTHER = PlatformId(kind="amd:chipid", value=b"\x22" * 64)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry holding all its keys; MACHINE is listed at level 1."""
    registry = Registry.development(tmp_path / "registry", now=NOW)
    registry.add_platform(MACHINE, provider="acme", region="eu-1", now=NOW)
    return registry


def verified(
    registry: Registry, *, now: int = NOW + 10, max_age: int = DAY, previous: RegistrySnapshot | None = None
) -> RegistrySnapshot:
    """The registry's snapshot after a trip through its file form, verified with its own keys."""
    config = registry.config
    return RegistrySnapshot.parse(registry.snapshot().encode()).verify(
        config.members, config.threshold, config.freshness_key, now, max_age, origin=config.origin, previous=previous
    )


def code_of(action: Callable[[], object]) -> str:
    """The code of the StatementError `action` must raise."""
    with pytest.raises(StatementError) as caught:
        action()
    return caught.value.code.removeprefix("proof-of-cloud.")
