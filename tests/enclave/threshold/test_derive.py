"""Child keys: BIP-32 where it exists, additive shares everywhere, no hardened steps."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import pytest
from eth_account.hdaccount.deterministic import SoftNode, derive_child_key
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.errors import CallerError
from enclave.group.ed25519 import ED25519
from enclave.group.secp256k1 import SECP256K1
from enclave.threshold import derive, frost, reconstruct, shamir, vss
from tests.enclave.threshold.support import GROUPS, bad_points, dealt
from tests.enclave.threshold.test_frost import verify_independently

PATHS = st.lists(st.integers(0, derive.STEP_MAX), max_size=5)
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def extended_key(text: str) -> tuple[bytes, bytes]:
    """Public key and chain code of a BIP-32 extended public key."""
    number = 0
    for character in text:
        number = number * 58 + ALPHABET.index(character)
    data = number.to_bytes(82, "big")
    assert hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()[:4] == data[-4:]
    return data[45:78], data[13:45]


def test_bip_32_vector_2() -> None:
    """The non-hardened step of BIP-32's second test vector: m to m/0."""
    parent = extended_key(
        "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB"
    )
    child = extended_key(
        "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH"
    )
    derived = derive.derive(SECP256K1, *parent, [0])
    assert (derived.public_key, derived.chain_code) == child


@given(st.binary(min_size=32, max_size=32), PATHS)
@settings(max_examples=20, deadline=None)
def test_secp256k1_children_are_those_of_an_ethereum_wallet(chain_code: bytes, path: list[int]) -> None:
    """The same path in eth-account, which has the whole private key, gives the same key and chain code."""
    private = os.urandom(31).rjust(32, b"\1")
    public = SECP256K1.base_mult_public(int.from_bytes(private, "big"))
    child = derive.derive(SECP256K1, public, chain_code, path)
    expected, expected_code = private, chain_code
    for step in path:
        expected, expected_code = derive_child_key(expected, expected_code, SoftNode(step))
    assert child.public_key == SECP256K1.base_mult_public(int.from_bytes(expected, "big"))
    assert child.chain_code == expected_code


@given(st.sampled_from([ED25519, SECP256K1]), PATHS)
@settings(max_examples=12, deadline=None)
def test_children_of_shares_are_shares_of_the_child(group: object, path: Sequence[int]) -> None:
    """Each holder adds the tweak alone; the results join to the child's key."""
    assert group in (ED25519, SECP256K1)
    g = ED25519 if group is ED25519 else SECP256K1
    shares, commitments = dealt(g, 3, 2)
    child = derive.derive(g, commitments[0], bytes(32), path)
    children = {i: derive.child_share(g, shares[i], child.tweak) for i in (1, 3)}
    assert g.base_mult(shamir.combine(g, children)) == child.public_key
    for i, share in children.items():
        assert g.base_mult(share) == derive.child_point(g, vss.public_share(g, commitments, i), child.tweak)
    assert child.public_key == derive.child_point(g, commitments[0], child.tweak)


def test_a_child_signs_by_frost() -> None:
    """An Ed25519 child signs like any key."""
    shares, commitments = dealt(ED25519, 3, 2)
    child = derive.derive(ED25519, commitments[0], os.urandom(32), [0, 7])
    pairs = {i: frost.commit() for i in (1, 2)}
    listed = [(i, hiding, binding) for i, (_, hiding, binding) in pairs.items()]
    parts = {
        i: frost.sign_share(
            share=derive.child_share(ED25519, shares[i], child.tweak),
            index=i,
            public_key=child.public_key,
            message=b"message",
            commitments=listed,
            nonce=pair[0],
        )
        for i, pair in pairs.items()
    }
    public_shares = {
        i: derive.child_point(ED25519, vss.public_share(ED25519, commitments, i), child.tweak) for i in parts
    }
    signature = frost.aggregate(
        public_key=child.public_key, message=b"message", commitments=listed, shares=parts, public_shares=public_shares
    )
    verify_independently(child.public_key, b"message", signature)


def test_a_child_signs_by_reconstruction() -> None:
    """A secp256k1 child is joined from the holders' child shares."""
    shares, commitments = dealt(SECP256K1, 3, 2)
    child = derive.derive(SECP256K1, commitments[0], os.urandom(32), [1])
    digest = os.urandom(32)
    signature, recovery_id = reconstruct.sign_ecdsa(
        shares={i: derive.child_share(SECP256K1, shares[i], child.tweak) for i in (2, 3)},
        public_key=child.public_key,
        public_shares={},
        digest=digest,
    )
    assert SECP256K1.ecdsa_recover(signature, recovery_id, digest) == child.public_key


@pytest.mark.parametrize("group", GROUPS)
def test_paths_and_chain_codes_separate_children(group: object) -> None:
    """Different steps, orders, chain codes and parents give different children."""
    g = ED25519 if group is ED25519 else SECP256K1
    a, b = g.base_mult_public(5), g.base_mult_public(6)
    seen = {
        derive.derive(g, key, code, path).public_key
        for key in (a, b)
        for code in (bytes(32), b"\1" * 32)
        for path in ([], [0], [1], [0, 1], [1, 0])
    }
    # The empty path is the key itself whatever its chain code.
    assert len(seen) == 2 * 2 * 4 + 2


@pytest.mark.parametrize("path", [[-1], [2**31], [0] * 17])
def test_hardened_and_overlong_paths_are_refused(path: list[int]) -> None:
    """Hardened steps need the whole secret, which does not exist."""
    with pytest.raises(CallerError) as caught:
        derive.derive(SECP256K1, SECP256K1.base_mult_public(5), bytes(32), path)
    assert caught.value.code == "path.invalid"


@pytest.mark.parametrize("group", GROUPS)
def test_bad_parents_are_refused(group: object) -> None:
    """Points outside the group and chain codes of another length have no children."""
    g = ED25519 if group is ED25519 else SECP256K1
    for bad in bad_points(g):
        with pytest.raises(CallerError):
            derive.derive(g, bad, bytes(32), [0])
    with pytest.raises(CallerError):
        derive.derive(g, g.base_mult_public(5), bytes(31), [0])


@given(PATHS)
def test_paths_read_back(path: list[int]) -> None:
    """The text form and the steps are one-to-one."""
    assert derive.parse_path("/".join(["m", *map(str, path)])) == tuple(path)


@pytest.mark.parametrize(
    "text",
    ["", "m/", "0/1", "m/-1", "m/01", "m/0'", "m/2147483648", "m/ 1", "m/1/", "M/1", "m/\u0661", "m" + "/1" * 17],
)
def test_odd_paths_are_refused(text: str) -> None:
    """Anything but m and plain decimal steps is refused, leading zeros and hardened marks included."""
    with pytest.raises(CallerError) as caught:
        derive.parse_path(text)
    assert caught.value.code == "path.invalid"
