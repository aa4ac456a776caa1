"""One cluster with a key and its bundles for all tests of this directory that change neither."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from enclave.backup.bundle import Bundle
from enclave.certificate import KeyCertificate
from tests.enclave.backup.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A cluster and what its custodians have."""

    vault: Vault
    key: KeyCertificate
    bundles: dict[str, Bundle]
    order: bytes


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Three nodes, one key of two shares, a bundle of each."""
    vault = Vault(tmp_path_factory.mktemp("vault"), plain=("node-3",))
    vault.ready()
    key = vault.create_key(shares_needed=2)
    bundles = {slot: vault.export(slot) for slot in vault.slots}
    order = vault.restore_order({slot: bundle.digest for slot, bundle in bundles.items()})
    yield Kept(vault=vault, key=key, bundles=bundles, order=order)
    vault.stop()
