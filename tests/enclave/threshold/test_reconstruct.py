"""Joining a key for one use: right signatures, checked key, named culprits, nothing left behind."""

from __future__ import annotations

import os

import pytest
from coincurve import PublicKey
from eth_keys import keys
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.errors import AbortError, CallerError, PeerError, SecretLeakError
from enclave.group import ED25519, SECP256K1, Group
from enclave.secret import Secret
from enclave.threshold import reconstruct, vss
from tests.enclave.threshold.support import GROUPS, dealt

HALF_ORDER = SECP256K1.order // 2


def key_of(group: Group, n: int = 5, threshold: int = 3) -> tuple[dict[int, Secret], bytes, dict[int, bytes]]:
    """Shares, public key and public shares."""
    shares, commitments = dealt(group, n, threshold)
    return shares, commitments[0], {i: vss.public_share(group, commitments, i) for i in shares}


@given(st.binary(min_size=32, max_size=32), st.permutations(range(1, 6)))
@settings(max_examples=20, deadline=None)
def test_any_quorum_signs_and_ethereum_recovers_the_key(digest: bytes, order: list[int]) -> None:
    """Signature, low s and recovery id hold in two independent libraries."""
    shares, public_key, public_shares = key_of(SECP256K1)
    signature, recovery_id = reconstruct.sign_ecdsa(
        shares={i: shares[i] for i in order[:3]}, public_key=public_key, public_shares=public_shares, digest=digest
    )
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    assert s <= HALF_ORDER
    recovered = keys.Signature(vrs=(recovery_id, r, s)).recover_public_key_from_msg_hash(digest)
    assert recovered.to_compressed_bytes() == public_key
    recovered_too = PublicKey.from_signature_and_message(signature + bytes([recovery_id]), digest, hasher=None)
    assert recovered_too.format() == public_key


@pytest.mark.parametrize("group", GROUPS)
def test_a_wrong_share_names_its_holder(group: Group) -> None:
    """The assembler tells which node's share is not the one its public share promises."""
    shares, public_key, public_shares = key_of(group)
    wrong = {1: shares[1], 2: group.random_scalar(), 3: shares[3]}
    with (
        pytest.raises(PeerError) as caught,
        reconstruct.joined(group, shares=wrong, public_key=public_key, public_shares=public_shares),
    ):
        pytest.fail("a key was joined from a wrong share")
    assert (caught.value.code, caught.value.culprits) == ("share.invalid", ("2",))


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("encoding", [bytes(32), b"\xff" * 32])
def test_a_share_that_is_no_scalar_names_its_holder(group: Group, encoding: bytes) -> None:
    """Zero and unreduced shares are refused like wrong ones."""
    shares, public_key, public_shares = key_of(group)
    wrong = {1: shares[1], 2: Secret.take(bytearray(encoding)), 3: shares[3]}
    with (
        pytest.raises(PeerError) as caught,
        reconstruct.joined(group, shares=wrong, public_key=public_key, public_shares=public_shares),
    ):
        pytest.fail("a key was joined from a wrong share")
    assert caught.value.culprits == ("2",)


def test_an_unreduced_copy_of_the_right_share_names_its_holder() -> None:
    """A share plus 2^255, which point multiplication would not notice, is not the share."""
    shares, public_key, public_shares = key_of(ED25519)
    data = bytearray(ED25519.scalar_to_public_bytes(shares[2]))
    data[31] |= 0x80
    wrong = {1: shares[1], 2: Secret.take(data), 3: shares[3]}
    with (
        pytest.raises(PeerError) as caught,
        reconstruct.joined(ED25519, shares=wrong, public_key=public_key, public_shares=public_shares),
    ):
        pytest.fail("a key was joined from a wrong share")
    assert caught.value.culprits == ("2",)


@pytest.mark.parametrize("group", GROUPS)
def test_too_few_shares_accuse_nobody(group: Group) -> None:
    """Right shares that do not reach the threshold are refused without a culprit."""
    shares, public_key, public_shares = key_of(group)
    few = {i: shares[i] for i in (1, 2)}
    with (
        pytest.raises(AbortError),
        reconstruct.joined(group, shares=few, public_key=public_key, public_shares=public_shares),
    ):
        pytest.fail("a key was joined from too few shares")


@pytest.mark.parametrize("group", GROUPS)
def test_the_joined_key_lives_for_the_block_only(group: Group) -> None:
    """Leaving the block wipes the key, by an exception too; the shares stay the caller's."""
    shares, public_key, public_shares = key_of(group)
    chosen = {i: shares[i] for i in (1, 2, 5)}
    with reconstruct.joined(group, shares=chosen, public_key=public_key, public_shares=public_shares) as secret:
        assert group.base_mult(secret) == public_key
    with pytest.raises(SecretLeakError):
        group.base_mult(secret)
    with (
        pytest.raises(ZeroDivisionError),
        reconstruct.joined(group, shares=chosen, public_key=public_key, public_shares=public_shares) as secret,
    ):
        raise ZeroDivisionError
    with pytest.raises(SecretLeakError):
        group.base_mult(secret)
    assert group.base_mult(shares[1]) == public_shares[1]


def test_a_miscomputed_signature_never_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault while signing (simulated: another key signs) is caught by recovering the public key."""
    shares, public_key, public_shares = key_of(SECP256K1)
    honest = SECP256K1.ecdsa_sign_recoverable
    monkeypatch.setattr(SECP256K1, "ecdsa_sign_recoverable", lambda _secret, digest: honest(shares[1], digest))
    with pytest.raises(AbortError):
        reconstruct.sign_ecdsa(
            shares={i: shares[i] for i in (1, 2, 3)},
            public_key=public_key,
            public_shares=public_shares,
            digest=bytes(32),
        )


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_only_digests_are_signed(size: int) -> None:
    """Anything but 32 bytes is refused."""
    shares, public_key, public_shares = key_of(SECP256K1)
    with pytest.raises(CallerError) as caught:
        reconstruct.sign_ecdsa(
            shares={i: shares[i] for i in (1, 2, 3)},
            public_key=public_key,
            public_shares=public_shares,
            digest=os.urandom(size),
        )
    assert caught.value.code == "digest.size"
