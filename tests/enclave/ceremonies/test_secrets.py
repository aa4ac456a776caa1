"""Opaque secrets are shares, too: refreshed, moved and repaired, they still open for the workload."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from enclave.ceremonies.batch import BatchMessage
from enclave.ceremonies.extras import WRAPPED_SECRET
from enclave.wire.ceremonies import CeremonyRound
from enclave.wire.message import decode_as, encode
from tests.enclave.ceremonies.driver import CeremonyWorld
from tests.enclave.ceremonies.test_kinds import lose_everything
from tests.enclave.ceremonies.test_proofs import corrupted
from tests.enclave.node.codes import code_of
from tests.enclave.node.secret_world import CONTENT, SecretWorld, releasing


class SecretCeremonies(CeremonyWorld, SecretWorld):
    """Ceremonies and secrets."""


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[SecretCeremonies]:
    """Five nodes and a policy that releases to one workload."""
    world = SecretCeremonies(tmp_path)
    world.ready(releasing())
    yield world
    world.stop()


def test_a_refreshed_secret_is_released(ready: SecretCeremonies) -> None:
    """New shares of the scalar, the same wrapped content; the same upload again changes nothing."""
    upload = ready.upload()
    key = ready.put_secret(upload)
    (after,) = ready.run(ready.beginning("refresh", key))
    assert (after.epoch, after.wrapped_digest) == (2, key.wrapped_digest)
    assert ready.released(after, slots=["node-2", "node-4", "node-5"]) == CONTENT
    assert ready.put_at("node-1", upload).body == after.body()


def test_a_moved_secret_takes_its_content_along(ready: SecretCeremonies) -> None:
    """New holders get the wrapped content from an old one, checked against the certificate."""
    key = ready.put_secret()
    old = ready.slots[:3]
    (three,) = ready.run(ready.beginning("reshare", key, nodes=tuple(old), shares_needed=2))
    assert ready.nodes["node-5"].keys.find(key.key, 1) is None
    ready.nodes["node-5"].store.delete(WRAPPED_SECRET, key.key)
    (after,) = ready.run(
        ready.beginning("reshare", three, participants=ready.slots, nodes=("node-4", "node-5"), shares_needed=2)
    )
    assert ready.released(after, slots=["node-4", "node-5"]) == CONTENT


def test_a_repaired_node_releases_again(ready: SecretCeremonies) -> None:
    """Share and content are back."""
    key = ready.put_secret()
    lose_everything(ready, "node-4")
    ready.nodes["node-4"].store.delete(WRAPPED_SECRET, key.key)
    start = ready.beginning("repair", key, participants=ready.slots[:4], target="node-4")
    ready.run(start)
    assert ready.released(key, slots=["node-2", "node-4", "node-5"]) == CONTENT


def test_other_content_names_who_sent_it(ready: SecretCeremonies) -> None:
    """A helper that replaces what is wrapped is named by the certificate's digest."""
    key = ready.put_secret()
    start = ready.beginning("reshare", key, nodes=tuple(ready.slots), shares_needed=3)
    second = ready.round(start, 2, ready.begin(start))

    def change(payload: bytes) -> bytes:
        batch = decode_as(BatchMessage, payload)
        name = f"{WRAPPED_SECRET}/{key.key}"
        batch.extras[name] = batch.extras[name][:-1] + b"x"
        return encode(batch)

    said = [corrupted(ready, second[0], change), *second[1:]]
    request = CeremonyRound(session=start.session, round=3, messages=said)
    assert code_of(ready.call, "node-2", "ceremony-round", request) == "ceremony.malformed"


def test_secrets_have_no_versions(ready: SecretCeremonies) -> None:
    """A changed secret is a new one."""
    key = ready.put_secret()
    assert code_of(ready.call, "node-1", "ceremony-start", ready.beginning("rotate", key)) == "key.spec"
