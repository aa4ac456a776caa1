"""A whole set in one file: the same set, the same bytes, and nothing that is not collateral."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from attestation.collateral import Collateral
from attestation.collateral_bundle import read_bundle, write_bundle
from attestation.errors import CollateralError
from tests.attestation.world import NOW, World


def test_round_trip(world: World) -> None:
    """Every platform's documents in one file read back to an equal set."""
    collateral = world.collateral()
    bundle = collateral.to_bundle()
    assert Collateral.of(bundle) == collateral
    assert len(collateral.crls) >= 3
    assert len(collateral.certificates) >= 3


def test_the_same_set_gives_the_same_bytes(world: World) -> None:
    """Order and wrapping of the input do not show."""
    blobs = world.authority.collateral(NOW)
    one, other = Collateral.of(*blobs), Collateral.of(*reversed(blobs))
    assert one.to_bundle() == other.to_bundle() == Collateral.of(one.to_bundle()).to_bundle()


def test_evidence_verifies_from_a_bundle(world: World) -> None:
    """One file is enough for Intel and AMD evidence."""
    collateral = Collateral.of(world.collateral().to_bundle())
    for evidence in (world.tdx(), world.sgx(), world.snp()):
        assert world.verifier.verify(evidence, collateral=collateral, now=NOW).root == "simulated"


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value | {"digest": "00" * 32},
        lambda value: value | {"items": value["items"][1:]},
        lambda value: value | {"items": [value["items"][0], *value["items"]]},
        lambda value: value | {"items": list(reversed(value["items"]))},
        lambda value: value | {"items": ["!"]},
        lambda value: value | {"items": [1]},
        lambda value: value | {"items": "AAAA"},
        lambda value: value | {"type": "holdfast/collateral-bundle/v2"},
    ],
    ids=["digest", "one-less", "one-twice", "order", "base64", "number", "text", "version"],
)
def test_a_damaged_bundle_is_refused(world: World, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Items that are not those the digest names refuse the whole file."""
    value = change(json.loads(world.collateral().to_bundle()))
    with pytest.raises(CollateralError) as caught:
        Collateral.of(json.dumps(value).encode())
    assert caught.value.code == "collateral.malformed"


def test_no_bundle_in_a_bundle(world: World) -> None:
    """Nesting would multiply work without end."""
    inner = world.collateral().to_bundle()
    with pytest.raises(CollateralError) as caught:
        Collateral.of(write_bundle([inner]))
    assert caught.value.code == "collateral.malformed"


def test_an_item_that_is_no_collateral() -> None:
    """Each item must be collateral on its own."""
    with pytest.raises(CollateralError) as caught:
        Collateral.of(write_bundle([b"hello"]))
    assert caught.value.code == "collateral.unknown-format"


def test_a_set_that_no_reader_would_take() -> None:
    """A bundle larger than one collateral file may be is not written."""
    with pytest.raises(CollateralError) as caught:
        write_bundle([bytes([number]) * 100_000 for number in range(20)])
    assert caught.value.code == "collateral.too-large"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"{" * 100])
def test_what_is_no_bundle(data: bytes) -> None:
    """Anything else is refused with a typed error."""
    with pytest.raises(CollateralError):
        read_bundle(data)
