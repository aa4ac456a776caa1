"""Where state lives on platforms with and without sealing keys."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from enclave.errors import StorageError
from enclave.secret import Secret
from enclave.stores import BOOT_COUNTER_FILE, THIS_BOOT_FILE, open_store
from enclave.tee import Tee
from enclave.tee.guests import TdxTee
from enclave.tee.nitro import NitroTee
from tests.enclave.samples import a_roster


class Sealing:
    """A platform with sealing keys."""

    can_seal = True

    def quote(self, report_data: bytes) -> bytes:
        """Not asked for here."""
        raise NotImplementedError

    def sealing_key(self, label: str) -> Secret:
        """SHA-256 of the label."""
        return Secret.take(bytearray(hashlib.sha256(label.encode()).digest()))


def boot(data: Path, tee: Tee, *, leave: bytes | None = None) -> tuple[int, bytes | None]:
    """One start: the boot counter it claims and what it finds of an earlier one."""
    store = open_store(data, roster=a_roster(), slot="node-1", tee=tee)
    try:
        counter = store.next_boot()
        found = store.get("key", "one")
        if leave is not None:
            store.put("key", "one", leave)
            store.commit()
    finally:
        store.close()
    return counter, found


def test_a_sealing_platform_keeps_its_state(tmp_path: Path) -> None:
    """The next boot finds what the one before left."""
    assert boot(tmp_path, Sealing(), leave=b"share") == (1, None)
    assert boot(tmp_path, Sealing()) == (2, b"share")


@pytest.mark.parametrize("tee", [TdxTee(), NitroTee()])
def test_a_platform_without_sealing_keys_starts_empty(tmp_path: Path, tee: Tee) -> None:
    """Nothing is kept but the boot counter, which still moves on."""
    assert boot(tmp_path, tee, leave=b"share") == (1, None)
    assert boot(tmp_path, tee) == (2, None)
    assert boot(tmp_path, tee) == (3, None)


def test_the_file_of_a_boot_opens_in_no_other(tmp_path: Path) -> None:
    """Putting an earlier boot's file back changes nothing: it is removed, and its keys are gone."""
    boot(tmp_path, TdxTee(), leave=b"share")
    kept = (tmp_path / THIS_BOOT_FILE).read_bytes()
    (tmp_path / THIS_BOOT_FILE).write_bytes(kept)
    assert boot(tmp_path, TdxTee()) == (2, None)


@pytest.mark.parametrize("content", ["", "-1", "one", "9" * 30])
def test_a_damaged_boot_counter_stops_the_start(tmp_path: Path, content: str) -> None:
    """Guessing would claim a counter that peers refuse; the hint says what to write."""
    (tmp_path / BOOT_COUNTER_FILE).write_text(content)
    with pytest.raises(StorageError) as caught:
        boot(tmp_path, TdxTee())
    assert caught.value.code == "storage.corrupt"
    assert caught.value.hint
    assert (tmp_path / BOOT_COUNTER_FILE).read_text() == content
