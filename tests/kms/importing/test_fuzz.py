"""Hostile bytes at every door of imports: only typed errors come out, and nothing of the input in them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attestation.canonical import canonical_json
from attestation.errors import CodedError
from enclave.imports.upload import KeyUpload
from enclave.payload.export import ExportBody
from kms.client.importing import (
    Curve,
    MaterialError,
    from_bip39,
    from_hex,
    from_keystore,
    from_pem,
    from_slip39,
    from_solana_file,
)
from tests.enclave.node.world import ALLOW_MESSAGES
from tests.kms.importing.world import ORDERS, ImportWorld

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
BYTES = st.binary(max_size=300) | st.text(max_size=200).map(str.encode)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImportWorld]:
    """A cluster whose roster uploads are read against."""
    made = ImportWorld(tmp_path_factory.mktemp("world"))
    made.ready(ALLOW_MESSAGES)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def uploads(world: ImportWorld) -> list[dict[str, Any]]:
    """An honest upload of every spec, as JSON."""
    return [json.loads(world.upload(spec).body()) for spec in ORDERS]


def read(world: ImportWorld, body: bytes) -> None:
    """Everything a node does with an upload before it opens a share."""
    upload = KeyUpload.parse(body, world.roster)
    upload.certificate(world.roster.cluster_id)
    upload.check_proof(world.roster.cluster_id)


@QUICK
@given(data=st.data())
def test_changed_uploads_raise_typed_errors(
    world: ImportWorld, uploads: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Any member replaced by anything; what still reads as an upload is never taken for the honest one."""
    value = json.loads(json.dumps(data.draw(st.sampled_from(uploads))))
    place = value if data.draw(st.booleans()) else value["order"]
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    with contextlib.suppress(CodedError):
        read(world, canonical_json(value))


@QUICK
@given(body=BYTES | JSON.map(lambda value: json.dumps(value).encode()))
def test_bytes_that_are_no_upload(world: ImportWorld, body: bytes) -> None:
    """Uploads and export requests from anywhere."""
    with pytest.raises(CodedError):
        read(world, body)
    with contextlib.suppress(CodedError):
        ExportBody.parse(body)


def test_the_honest_uploads_read(world: ImportWorld, uploads: list[dict[str, Any]]) -> None:
    """The control: unchanged, each passes all of it."""
    for value in uploads:
        read(world, canonical_json(value))


CRYPTO = ("cipher", "cipherparams", "ciphertext", "kdf", "kdfparams", "mac")

READERS = {
    "hex": lambda data: from_hex(data, Curve.P256),
    "pem": lambda data: from_pem(data, None),
    "pem with header": lambda data: from_pem(b"-----BEGIN PRIVATE KEY-----\n" + data, None),
    "bip39": lambda data: from_bip39(data, "m", Curve.SECP256K1),
    "slip39": lambda data: from_slip39(data, "m", Curve.SECP256K1),
    "keystore": lambda data: from_keystore(data, b"password"),
    "solana": from_solana_file,
}


@pytest.mark.parametrize("name", READERS)
@QUICK
@given(data=BYTES | JSON.map(lambda value: json.dumps(value).encode()))
def test_sources_raise_typed_errors(name: str, data: bytes) -> None:
    """Nothing else comes out of a source that is none."""
    with contextlib.suppress(MaterialError):
        READERS[name](data).wipe()


@QUICK
@given(
    crypto=st.dictionaries(st.sampled_from(["cipher", "cipherparams", "ciphertext", "kdf", "kdfparams", "mac"]), JSON)
)
def test_keystores_raise_typed_errors(crypto: dict[str, Any]) -> None:
    """A keystore around anything."""
    with pytest.raises(MaterialError):
        from_keystore(json.dumps({"version": 3, "crypto": crypto}).encode(), b"password")
