"""The sealed store: durable, bound to its place, and loud about every kind of damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from attestation.simulated.authority import Authority
from attestation.simulated.service import Launch, SimulatedPlatformService
from enclave.errors import StorageError
from enclave.seal import FORMAT_VERSION, SealedStore
from enclave.secret import Secret, declassify
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import LocalTee

CLUSTER = bytes(range(32))
CANARY = b"canary-" * 8


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A vendor with machines."""
    return Authority.create(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tee(authority: Authority, tmp_path: Path) -> LocalTee:
    """The machine of this test."""
    return machine(authority, tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store lives."""
    return tmp_path / "node" / "node.db"


@pytest.fixture
def filled(path: Path, tee: LocalTee) -> Path:
    """A closed store with three values and one secret."""
    with opened(path, tee) as store:
        store.put("document", "a", CANARY)
        store.put("document", "b", b"second")
        store.put("key", "k", b"third")
        store.put_secret("share", "k", Secret.take(bytearray(b"x" * 32)))
        store.commit()
    return path


def machine(authority: Authority, path: Path, *, name: str = "one", mrtd: bytes = bytes(48)) -> LocalTee:
    """A machine running one image."""
    return LocalTee(SimulatedPlatformService(authority.platform(name), Launch(mrtd=mrtd), path / "unused"))


class opened:
    """A store for the length of a block."""

    def __init__(self, path: Path, tee: LocalTee, *, cluster: bytes = CLUSTER, slot: str = "node-1") -> None:
        self._arguments = (path, tee, cluster, slot)

    def __enter__(self) -> SealedStore:
        path, tee, cluster, slot = self._arguments
        self._store = SealedStore.open(path, cluster=cluster, slot=slot, tee=tee)
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def edit(path: Path, statement: str, *values: object) -> None:
    """What somebody with the disk can do to the file."""
    connection = sqlite3.connect(path)
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def refused(path: Path, tee: LocalTee, **changes: object) -> str:
    """The code with which opening (and reading everything) fails."""
    with pytest.raises(StorageError) as caught, opened(path, tee, **changes) as store:  # type: ignore[arg-type]
        store.verify()
    return caught.value.code


def test_values_and_secrets_come_back_after_a_restart(filled: Path, tee: LocalTee) -> None:
    """What was committed is there after closing and opening, secrets included."""
    with opened(filled, tee) as store:
        assert store.get("document", "a") == CANARY
        assert dict(store.items("document")) == {"a": CANARY, "b": b"second"}
        with store.get_secret("share", "k") as secret:
            assert declassify(secret) == b"x" * 32
        assert store.get("document", "missing") is None


def test_uncommitted_writes_are_gone(path: Path, tee: LocalTee) -> None:
    """A value that was never committed is not there after a crash."""
    with opened(path, tee) as store:
        store.put("document", "a", b"1")
        store.commit()
        store.put("document", "b", b"2")
    with opened(path, tee) as store:
        assert list(dict(store.items("document"))) == ["a"]


def test_one_commit_covers_many_writes(path: Path, tee: LocalTee) -> None:
    """A group commit makes all gathered writes durable at once, replacing and deleting included."""
    with opened(path, tee) as store:
        for number in range(50):
            store.put("document", str(number), bytes([number]))
        store.put("document", "7", b"new")
        store.delete("document", "8")
        store.commit()
    with opened(path, tee) as store:
        values = dict(store.items("document"))
        assert (len(values), values["7"], values["49"]) == (49, b"new", b"1")


def test_the_boot_counter_only_rises(path: Path, tee: LocalTee) -> None:
    """Each start takes the next boot counter, and it is on disk before it is used."""
    for expected in (1, 2, 3):
        with opened(path, tee) as store:
            assert store.next_boot() == expected


def test_nothing_readable_is_on_disk(filled: Path) -> None:
    """No stored value appears in the file or its journal."""
    for file in filled.parent.iterdir():
        data = file.read_bytes()
        assert CANARY not in data
        assert b"x" * 32 not in data
        assert (file.stat().st_mode & 0o077) == 0


def test_a_second_process_is_refused(filled: Path, tee: LocalTee) -> None:
    """Two nodes on one store would be twins."""
    with opened(filled, tee):
        assert refused(filled, tee) == "storage.locked"


@pytest.mark.parametrize("at", [1, 5, 20, -1])
def test_a_flipped_bit_is_found(filled: Path, tee: LocalTee, at: int) -> None:
    """A changed nonce, ciphertext or tag does not open."""
    connection = sqlite3.connect(filled)
    (value,) = connection.execute("SELECT value FROM sealed WHERE kind = 'key'").fetchone()
    connection.close()
    damaged = bytearray(value)
    damaged[at] ^= 1
    edit(filled, "UPDATE sealed SET value = ? WHERE kind = 'key'", bytes(damaged))
    assert refused(filled, tee) == "storage.tampered"


def test_a_truncated_value_is_found(filled: Path, tee: LocalTee) -> None:
    """A value shorter than header and tag is torn, one cut later does not open."""
    edit(filled, "UPDATE sealed SET value = substr(value, 1, 10) WHERE kind = 'key'")
    assert refused(filled, tee) == "storage.torn"


def test_a_cut_tail_is_found(filled: Path, tee: LocalTee) -> None:
    """A value that lost its last byte does not open."""
    edit(filled, "UPDATE sealed SET value = substr(value, 1, length(value) - 1) WHERE kind = 'document' AND id = 'a'")
    assert refused(filled, tee) == "storage.tampered"


def test_swapped_values_are_found(filled: Path, tee: LocalTee) -> None:
    """Two values of one kind cannot change places."""
    edit(
        filled,
        "UPDATE sealed SET value = (SELECT o.value FROM sealed o WHERE o.kind = 'document' AND o.id <> sealed.id) "
        "WHERE kind = 'document'",
    )
    assert refused(filled, tee) == "storage.tampered"


def test_swapped_rows_are_found(filled: Path, tee: LocalTee) -> None:
    """Values do not open under another id even if their counters travel along."""
    edit(filled, "UPDATE sealed SET id = 'z' WHERE kind = 'document' AND id = 'a'")
    assert refused(filled, tee) == "storage.tampered"


def test_a_removed_row_is_found(filled: Path, tee: LocalTee) -> None:
    """A deleted document (a revocation, say) shows at the next start although every other row opens."""
    edit(filled, "DELETE FROM sealed WHERE kind = 'document' AND id = 'b'")
    assert refused(filled, tee) == "storage.head"


def test_an_older_row_is_found(filled: Path, tee: LocalTee) -> None:
    """A single row rolled back to what it was, properly sealed then, shows at the next start."""
    connection = sqlite3.connect(filled)
    old = connection.execute("SELECT counter, value FROM sealed WHERE kind = 'document' AND id = 'a'").fetchone()
    connection.close()
    with opened(filled, tee) as store:
        store.put("document", "a", b"revoked")
        store.commit()
    edit(filled, "UPDATE sealed SET counter = ?, value = ? WHERE kind = 'document' AND id = 'a'", *old)
    assert refused(filled, tee) == "storage.head"


def test_a_missing_head_is_found(filled: Path, tee: LocalTee) -> None:
    """Rows without the head they belong to are refused."""
    edit(filled, "DELETE FROM sealed WHERE kind = 'head'")
    assert refused(filled, tee) == "storage.head"


def test_another_owner_is_refused(filled: Path, tee: LocalTee) -> None:
    """A store belongs to one slot of one cluster."""
    assert refused(filled, tee, slot="node-2") == "storage.foreign"
    assert refused(filled, tee, cluster=bytes(32)) == "storage.foreign"


def test_a_renamed_owner_does_not_help(filled: Path, tee: LocalTee) -> None:
    """The readable owner is only for the message: values of another slot do not open."""
    edit(filled, "UPDATE owner SET slot = 'node-2'")
    assert refused(filled, tee, slot="node-2") == "storage.tampered"


def test_another_machine_or_image_is_refused(filled: Path, authority: Authority, tmp_path: Path) -> None:
    """The file opens only on the machine and under the measurement that sealed it."""
    assert refused(filled, machine(authority, tmp_path, name="two")) == "storage.tampered"
    assert refused(filled, machine(authority, tmp_path, mrtd=b"\1" * 48)) == "storage.tampered"


def test_a_value_of_a_newer_format_is_refused(filled: Path, tee: LocalTee) -> None:
    """A value whose first byte names a later version is not guessed at."""
    edit(filled, "UPDATE sealed SET value = CAST(x'02' || substr(value, 2) AS BLOB) WHERE kind = 'key'")
    assert refused(filled, tee) == "storage.version"


def test_a_file_of_a_newer_format_is_refused(filled: Path, tee: LocalTee) -> None:
    """A file that a later version has marked is not opened, although its values could be."""
    edit(filled, f"PRAGMA user_version = {FORMAT_VERSION + 1}")
    assert refused(filled, tee) == "storage.version"


def test_a_row_that_changes_under_a_running_node_is_found(filled: Path, tee: LocalTee) -> None:
    """What was checked at opening is what is read later: a row swapped in between is refused."""
    with opened(filled, tee) as store:
        store._connection.execute("UPDATE sealed SET counter = counter + 1 WHERE kind = 'key'")
        assert code_of(store.get, "key", "k") == "storage.head"
        store._connection.execute("DELETE FROM sealed WHERE kind = 'key'")
        assert code_of(store.get, "key", "k") == "storage.head"


def test_an_absent_secret_is_an_error(path: Path, tee: LocalTee) -> None:
    """A share that should be there and is not stops the node instead of becoming something else."""
    with opened(path, tee) as store:
        assert code_of(store.get_secret, "share", "k") == "storage.missing"


@pytest.mark.parametrize("damage", [lambda data: b"not a database" * 400, lambda data: data[:5000]])
def test_a_damaged_file_is_refused(filled: Path, tee: LocalTee, damage: Callable[[bytes], bytes]) -> None:
    """A file that is no database, or lost its end, is reported and left as it is."""
    damaged = damage(filled.read_bytes())
    filled.write_bytes(damaged)
    assert refused(filled, tee).startswith("storage.")
    assert filled.read_bytes() == damaged


def test_a_failed_write_is_final(path: Path, tee: LocalTee) -> None:
    """After the disk failed once, nothing is acknowledged any more, even if it would work again."""
    with opened(path, tee) as store:
        store._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StorageError):
            store.put("document", "a", b"1")
        store._connection.execute("PRAGMA query_only = OFF")
        with pytest.raises(StorageError):
            store.commit()
        with pytest.raises(StorageError):
            store.put("document", "a", b"1")


def test_a_value_is_never_sealed_twice_alike(path: Path, tee: LocalTee) -> None:
    """Sealing the same value again gives other bytes: the nonce is fresh each time."""
    seen = set()
    with opened(path, tee) as store:
        for _ in range(3):
            store.put("document", "a", b"same")
            store.commit()
            row = store._connection.execute("SELECT value FROM sealed WHERE kind = 'document'").fetchone()
            seen.add(row[0])
    assert len(seen) == 3
