"""What the threshold tests share: groups, published vectors, test scalars, and a whole key generation."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from enclave.group import ED25519, SECP256K1, Group
from enclave.secret import Secret
from enclave.threshold import dkg, shamir

VECTORS = Path(__file__).resolve().parents[3].parent / "shared" / "vectors" / "crypto"
GROUPS = [pytest.param(ED25519, id="ed25519"), pytest.param(SECP256K1, id="secp256k1")]


def vectors(name: str) -> Any:
    """A published vector file, or a skip that says it is not there."""
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"published vectors {name} are not beside this checkout")
    return json.loads(path.read_text())


def living_secrets() -> list[Secret]:
    """Every secret of this process that is not wiped."""
    gc.collect()
    return [found for found in gc.get_objects() if isinstance(found, Secret) and found._slot is not None]


def secret_of(group: Group, public_test_bytes: str | bytes) -> Secret:
    """A test scalar from its published encoding."""
    data = bytes.fromhex(public_test_bytes) if isinstance(public_test_bytes, str) else public_test_bytes
    return Secret.take(bytearray(data))


def reveal(group: Group, secret: Secret) -> bytes:
    """A test scalar's bytes, to be compared with a published figure."""
    return group.scalar_to_public_bytes(secret)


def slots(n: int) -> dict[int, str]:
    """n slots named as in a roster."""
    return {i: f"node-{i}" for i in range(1, n + 1)}


def participants(
    group: Group, n: int, threshold: int, *, session: bytes | None = None, context: bytes = b"order"
) -> dict[int, dkg.Participant]:
    """n fresh participants of one key generation."""
    session = session or os.urandom(32)
    return {
        i: dkg.Participant(group, session=session, index=i, slots=slots(n), threshold=threshold, context=context)
        for i in slots(n)
    }


def generate(group: Group, n: int, threshold: int) -> dict[int, dkg.KeyShare]:
    """A key by an honest key generation."""
    parties = participants(group, n, threshold)
    first = {i: p.round1() for i, p in parties.items()}
    second = {i: p.round2(first) for i, p in parties.items()}
    return {i: p.round3(second)[1] for i, p in parties.items()}


def dealt(group: Group, n: int, threshold: int) -> tuple[dict[int, Secret], tuple[bytes, ...]]:
    """Shares and commitments of a random key from one dealer: quicker than a key generation."""
    with group.random_scalar() as secret:
        return shamir.split(group, secret, threshold, range(1, n + 1))


def same(group: Group, a: Mapping[int, Secret], b: Mapping[int, Secret]) -> bool:
    """Whether two sharings hold equal shares."""
    return all(a[i].same(b[i]) for i in a)


SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
]
MIXED_ORDER = "9599999999999999999999999999999999999999999999999999999999999999"
"""The base point plus the point of order two."""
ZERO_WITH_SIGN_ED = ["01" + "00" * 30 + "80", "ec" + "ff" * 31]
"""The identity and the point of order two with the sign bit that x = 0 must not have."""
OFF_CURVE_ED = "0200000000000000000000000000000000000000000000000000000000000000"
NOT_CANONICAL_ED = "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"


def bad_points(group: Group) -> list[bytes]:
    """Encodings that must be refused wherever a point arrives."""
    if group is ED25519:
        texts = [
            *SMALL_ORDER,
            *ZERO_WITH_SIGN_ED,
            MIXED_ORDER,
            OFF_CURVE_ED,
            NOT_CANONICAL_ED,
            "",
            "58" * 31,
            "58" * 33,
        ]
        return [bytes.fromhex(text) for text in texts]
    x = group.base_mult_public(1)[1:]
    return [
        b"",
        b"\x00",
        bytes(33),
        b"\x04" + x,
        b"\x02" + b"\xff" * 32,
        b"\x02" + bytes(31) + b"\x05",
        b"\x02" + x[:-1],
    ]
