"""The simulated disk: what a crash keeps, what it loses, and what an old copy brings back."""

from __future__ import annotations

import pytest

from enclave.errors import StorageError
from tests.simulation.disk import Disk, PowerError
from tests.simulation.quotes import StandInTee

TEE = StandInTee(b"p" * 16, mrtd=b"m" * 48, mrconfigid=b"c" * 48)


def test_a_crash_keeps_what_was_committed_and_nothing_else() -> None:
    """The committed value is there after a crash, the one behind it is not, and the store still verifies."""
    disk = Disk(bytes(32), "node-1")
    store = disk.open(TEE)
    store.put("thing", "a", b"kept")
    store.commit()
    store.put("thing", "a", b"lost")
    store.put("thing", "b", b"lost too")
    disk.crash()
    again = disk.open(TEE)
    assert (again.get("thing", "a"), again.get("thing", "b")) == (b"kept", None)


@pytest.mark.parametrize("after", [False, True])
def test_a_torn_commit_is_whole_or_not_there(after: bool) -> None:
    """Power that fails inside a commit leaves the state before or behind it, and never a mixture."""
    disk = Disk(bytes(32), "node-1")
    store = disk.open(TEE)
    store.put("thing", "a", b"one")
    store.put("thing", "b", b"one")
    store.commit()

    def cut() -> None:
        raise PowerError

    if after:
        store.after_commit = cut
    else:
        store.on_commit = cut
    store.put("thing", "a", b"two")
    store.put("thing", "b", b"two")
    with pytest.raises(PowerError):
        store.commit()
    disk.crash()
    again = disk.open(TEE)
    expected = b"two" if after else b"one"
    assert (again.get("thing", "a"), again.get("thing", "b")) == (expected, expected)


def test_an_old_copy_opens_as_it_was() -> None:
    """A disk that somebody copied and put back is a valid store of the past: only peers can tell."""
    disk = Disk(bytes(32), "node-1")
    store = disk.open(TEE)
    store.put("thing", "a", b"old")
    store.commit()
    disk.keep_copy()
    store.put("thing", "a", b"new")
    store.commit()
    disk.crash()
    disk.restore(disk.copies[0])
    assert disk.open(TEE).get("thing", "a") == b"old"


def test_flipped_bits_are_noticed_or_harmless() -> None:
    """No flipped bit changes a value: the store refuses to open, or the bit was in nobody's value."""
    refused = 0
    for at in range(0, 40_000, 997):
        disk = Disk(bytes(32), "node-1")
        store = disk.open(TEE)
        for number in range(20):
            store.put("thing", str(number), bytes([number]) * 200)
        store.commit()
        disk.crash()
        disk.corrupt(at)
        try:
            again = disk.open(TEE)
            assert all(again.get("thing", str(number)) == bytes([number]) * 200 for number in range(20))
        except StorageError:
            refused += 1
    assert refused > 0
