"""Where a node keeps its state: a sealed file, or for this boot only where the platform gives no sealing key.

Rules kept (specs/sealed-store.md): a store that does not open is left as it is; without sealing keys
nothing of an earlier boot is used or believed, so the file of each boot is sealed under keys that die with the
process, and only the boot counter, which is no secret, goes on from one boot to the next.  A host that sets that
counter back gets a node that its peers refuse.
"""

from __future__ import annotations

import os
from pathlib import Path

from enclave.errors import StorageError
from enclave.roster import Roster
from enclave.seal import SealedStore
from enclave.secret import Secret
from enclave.tee import SEALING_KEY_BYTES, Tee

STORE_FILE = "node.db"

THIS_BOOT_FILE = "this-boot.db"

BOOT_COUNTER_FILE = "boot-counter"

BOOT_COUNTER_MAX = (1 << 63) - 1


def open_store(data: Path, *, roster: Roster, slot: str, tee: Tee) -> SealedStore:
    """The store of this start; raises StorageError, TeeError."""
    if tee.can_seal:
        return SealedStore.open(data / STORE_FILE, cluster=roster.cluster_id, slot=slot, tee=tee)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    boot_counter = _next_boot_counter(data / BOOT_COUNTER_FILE)
    for suffix in ("", "-wal", "-shm"):
        (data / (THIS_BOOT_FILE + suffix)).unlink(missing_ok=True)
    store = SealedStore.open(data / THIS_BOOT_FILE, cluster=roster.cluster_id, slot=slot, tee=_ThisBoot())
    store.start_boots_after(boot_counter - 1)
    return store


class _ThisBoot:
    """Sealing keys that no later boot can ask for again."""

    can_seal = True

    def quote(self, report_data: bytes) -> bytes:
        """Never asked of it."""
        raise NotImplementedError

    def sealing_key(self, _label: str) -> Secret:
        """A key of this process."""
        return Secret.random(SEALING_KEY_BYTES)


def _next_boot_counter(path: Path) -> int:
    """One more than the file says, written back before anything else happens; raises StorageError."""
    try:
        text = path.read_text("ascii").strip() if path.exists() else "0"
        if not text.isdigit() or int(text) >= BOOT_COUNTER_MAX:
            raise StorageError(
                f"{path} does not hold a boot counter",
                code="storage.corrupt",
                hint="write into it the newest boot counter that the other nodes show for this slot",
            )
        counter = int(text) + 1
        fresh = path.with_name(path.name + ".new")
        with fresh.open("w", encoding="ascii") as file:
            file.write(f"{counter}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except (OSError, UnicodeDecodeError):
        raise StorageError("cannot write the boot counter", hint="is the node's data directory writable?") from None
    return counter
