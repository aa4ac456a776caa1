"""The SQLite engine keeps the store's contract, alone in its directory, and stops on a disk that fails."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kms.errors import StoreError
from kms.store.protocol import Store
from kms.store.schema import TABLES
from kms.store.sqlite import FILE_NAME, SqliteStore
from kms.store.writer import EXIT_STORAGE
from tests.kms.store_contract import Reopen, StoreContract, admission, operation, settlement


class TestSqliteStore(StoreContract):
    """The contract, on SQLite."""

    @pytest.fixture
    async def reopen(self, tmp_path: Path) -> AsyncIterator[Reopen]:
        """Opens the store of this test, closing the one opened before."""
        opened: list[SqliteStore] = []

        async def again() -> Store:
            if opened:
                await opened.pop().close()
            opened.append(SqliteStore(tmp_path / "data"))
            return opened[0]

        yield again
        await opened.pop().close()


async def test_settings_that_durability_rests_on(tmp_path: Path) -> None:
    """The writing connection runs with WAL, full synchronisation, foreign keys and an untrusted schema."""
    store = SqliteStore(tmp_path)
    settings = [
        store._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
    ]
    assert settings == ["wal", 2, 1, 0]
    await store.close()


async def test_second_gateway_on_the_same_data_is_refused(tmp_path: Path) -> None:
    """Two processes would fork the audit chain, so the second does not start."""
    store = SqliteStore(tmp_path)
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path)
    assert caught.value.code == "store.locked"
    await store.close()


async def test_store_of_another_version_is_refused(tmp_path: Path) -> None:
    """A file written by a later version is not touched."""
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version=9")
    connection.close()
    with pytest.raises(StoreError) as caught:
        SqliteStore(tmp_path)
    assert caught.value.code == "store.version"


async def test_store_of_the_first_version_gains_operations(tmp_path: Path) -> None:
    """A file written before there were operations is brought up to date and keeps what it has."""
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.executescript(f"{TABLES} PRAGMA user_version=1;")
    connection.execute("INSERT INTO documents VALUES ('policy', 'pol_a', 1, x'00', x'01', 5)")
    connection.commit()
    connection.close()
    store = SqliteStore(tmp_path)
    assert await store.put_operation(operation(), {"kind": "operation"})
    assert [item.subject for item in await store.documents()] == ["pol_a"]
    await store.close()


async def test_error_in_one_write_spares_its_neighbours(tmp_path: Path) -> None:
    """A write that fails inside a batch is undone alone and the head stays in step."""
    store = SqliteStore(tmp_path)

    def broken() -> None:
        store._append({"kind": "never"})
        raise RuntimeError("a defect")

    futures = [
        store._writer.submit(lambda: store._append({"n": 1})),
        store._writer.submit(broken),
        store._writer.submit(lambda: store._append({"n": 2})),
    ]
    assert (await futures[0]).sequence == 1
    with pytest.raises(RuntimeError):
        await futures[1]
    assert (await futures[2]).sequence == 2
    assert len(await store.audit(after=0, limit=10)) == 2
    await store.close()


async def test_use_after_close_is_an_error(tmp_path: Path) -> None:
    """Nothing is accepted that could not be written."""
    store = SqliteStore(tmp_path)
    await store.close()
    with pytest.raises(StoreError):
        await store.admit(admission())


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from kms.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, 256 * 1024))
    for n in range(100_000):
        entry = await store.append_audit({"n": n, "fill": "x" * 2000})
        print(entry.sequence, flush=True)

asyncio.run(main())
"""


async def test_failed_write_stops_the_process_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """When the disk refuses, the process ends at once with its own status; all it acknowledged is there."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == EXIT_STORAGE, done.stderr
    assert '"event":"storage-failed"' in done.stderr
    acknowledged = int(done.stdout.split()[-1])
    assert acknowledged > 10
    store = SqliteStore(tmp_path)
    entries = await store.audit(after=0, limit=100_000)
    assert [entry.sequence for entry in entries][:acknowledged] == list(range(1, acknowledged + 1))
    await store.close()


async def test_data_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Directory and file are private."""
    store = SqliteStore(tmp_path / "data")
    await store.settle(settlement("unknown"))
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / FILE_NAME).stat().st_mode & 0o777 == 0o600
    await store.close()
