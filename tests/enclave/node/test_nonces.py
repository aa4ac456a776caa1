"""Signing nonces: one use, one connection, one minute."""

from __future__ import annotations

import pytest

from enclave.errors import CallerError, RefusedError
from enclave.nonces import BATCH_MAX, LIFETIME_S, OUTSTANDING_MAX, NoncePool
from enclave.threshold import frost


def new_pool(boot_counter: int) -> NoncePool[frost.NoncePair]:
    """A pool of Ed25519 nonces."""
    return NoncePool(boot_counter, frost.commit)


def test_a_nonce_is_popped_once() -> None:
    """The second use of a nonce finds nothing, whatever became of the first."""
    pool = new_pool(7)
    (published,) = pool.publish(1, now=0)
    pair = pool.pop(published.nonce, now=0)
    assert (pair.hiding, pair.binding) == (published.hiding, published.binding)
    with pytest.raises(CallerError) as caught:
        pool.pop(published.nonce, now=0)
    assert caught.value.code == "nonces.unknown"


def test_nonces_are_fresh_and_name_their_boot() -> None:
    """No two nonces or commitments are alike, and each id carries the boot counter."""
    published = new_pool(7).publish(64, now=0)
    assert len({nonce.nonce for nonce in published}) == 64
    assert len({point for nonce in published for point in (nonce.hiding, nonce.binding)}) == 128
    assert all(nonce.nonce.startswith((7).to_bytes(8, "big")) for nonce in published)


def test_a_nonce_expires_and_is_wiped() -> None:
    """After a minute a nonce is refused, and the pool makes room again."""
    pool = new_pool(1)
    first, second = pool.publish(2, now=100)
    pool.pop(first.nonce, now=100 + LIFETIME_S)
    with pytest.raises(CallerError):
        pool.pop(second.nonce, now=101 + LIFETIME_S)
    pool.publish(3, now=100)
    pool.publish(1, now=101 + LIFETIME_S)
    assert len(pool) == 1


def test_a_pool_is_bounded() -> None:
    """One connection holds at most 1024 unused nonces, and one call makes at most a batch."""
    pool = new_pool(1)
    while len(pool) < OUTSTANDING_MAX:
        assert 0 < len(pool.publish(OUTSTANDING_MAX, now=0)) <= BATCH_MAX
    with pytest.raises(RefusedError) as caught:
        pool.publish(1, now=0)
    assert caught.value.code == "nonces.full"


@pytest.mark.parametrize("count", [0, -1, OUTSTANDING_MAX + 1])
def test_senseless_counts_are_refused(count: int) -> None:
    """Zero, negative and absurd counts are the caller's mistake."""
    with pytest.raises(CallerError):
        new_pool(1).publish(count, now=0)


def test_a_lost_connection_takes_its_nonces_along() -> None:
    """After wiping nothing can be popped."""
    pool = new_pool(1)
    (published,) = pool.publish(1, now=0)
    pool.wipe()
    with pytest.raises(CallerError):
        pool.pop(published.nonce, now=0)
