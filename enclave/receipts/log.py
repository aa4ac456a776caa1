"""The log of one boot: append a leaf, announce a head, sign a checkpoint, hand entries to whoever stores them.

Rules kept: a leaf is never changed or removed; memory is bounded, and full means stop working, never forget what nobody
has fetched; a checkpoint is signed only for a head this log really had; the next boot's first leaf names the newest
head that peers countersigned in this one.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from attestation.merkle import leaf_hash
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.entry import Boot
from attestation.receipts.frontier import Frontier
from enclave.errors import CallerError, RefusedError
from enclave.identity import BootIdentity
from enclave.receipts.asked import Asked
from enclave.receipts.verdict_leaves import VerdictLeaves
from enclave.seal import SealedStore
from enclave.wire.message import Message, decode_as, encode
from enclave.wire.receipts import LogEntriesReply

UNFETCHED_MAX = 65_536
"""Entries nobody has fetched at which the node stops working: about 35 MB."""

RECENT_MAX = 8_192
"""Fetched entries kept all the same: a second gateway, or one that lost a page, asks again within seconds."""

HEADS_MAX = 64
"""Announced heads a checkpoint can still be asked for: two minutes of heartbeats."""

PAGE_ENTRIES_MAX = 1_000
PAGE_BYTES_MAX = 512 << 10
"""Bounds of one page: 512 KiB travel within a slice of the node's loop."""

KEEP_EVERY_S = 10
"""Pause between two writes of the newest countersigned head, in seconds."""

_STORED = ("log", "countersigned")


class _Kept(Message, frozen=True):
    """The newest countersigned head, as sealed."""

    boot_counter: int
    size: int
    root: bytes


class Receipts:
    """The log of this boot and what decisions need at hand; `asked` is the request being handled."""

    def __init__(self, identity: BootIdentity, store: SealedStore, *, now: int) -> None:
        self._identity = identity
        self._store = store
        self._frontier = Frontier()
        self._entries: deque[bytes] = deque()
        self._base = 0
        self._fetched = 0
        self._heads: dict[int, bytes] = {}
        self._countersigned = 0
        self._kept_at = 0
        self.verdicts = VerdictLeaves(self.append)
        self.asked: Asked | None = None
        held = store.get(*_STORED)
        before = decode_as(_Kept, held) if held is not None else None
        own = identity.public
        first = Boot(
            cluster=own.cluster,
            slot=own.slot,
            boot_counter=own.boot_counter,
            identity_key=own.identity_key,
            roster_digest=own.roster_digest,
            started_at=now,
            previous_boot=before.boot_counter if before else 0,
            previous_size=before.size if before else 0,
            previous_root=before.root if before else b"",
        )
        self.append(first.encode())

    def append(self, entry: bytes) -> int:
        """Add a leaf; returns its index.  Costs two hashes on average."""
        self._entries.append(entry)
        return self._frontier.append(leaf_hash(entry))

    def take_asked(self) -> Asked | None:
        """The request being handled, which is then done with."""
        asked, self.asked = self.asked, None
        return asked

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._frontier.size

    @property
    def uncountersigned(self) -> int:
        """Leaves beyond the newest head that peers countersigned."""
        return self._frontier.size - self._countersigned

    def check_room(self) -> None:
        """Raise RefusedError (`log.full`) when too much has not been fetched by anyone."""
        if self._frontier.size - self._fetched >= UNFETCHED_MAX:
            raise RefusedError(
                f"{UNFETCHED_MAX} decisions have not been fetched",
                code="log.full",
                hint="a gateway has to fetch this node's log",
            )

    def head(self) -> tuple[int, bytes]:
        """Size and root, for a heartbeat: announced heads are what checkpoints are signed for."""
        size, root = self._frontier.size, self._frontier.root()
        if size not in self._heads:
            while len(self._heads) >= HEADS_MAX:
                del self._heads[next(iter(self._heads))]
            self._heads[size] = root
        return size, root

    def checkpoint(self, now: int, *, size: int = 0, gateway_head: bytes = bytes(32)) -> bytes:
        """The signed note of an announced head, or (size 0) of the present one.

        Raises CallerError: `log.head` for a head that was not announced or is forgotten, `log.gateway-head`.
        """
        if len(gateway_head) != 32:
            raise CallerError("expected a gateway head of 32 bytes", code="log.gateway-head")
        if size == 0:
            size, _ = self.head()
        if size not in self._heads:
            raise CallerError("no such head was announced lately", code="log.head")
        own = self._identity.public
        head = LogCheckpoint(
            cluster=own.cluster,
            slot=own.slot,
            boot_counter=own.boot_counter,
            size=size,
            root=self._heads[size],
            time=now,
            gateway_head=gateway_head,
        )
        return head.note(own.identity_key, self._identity.sign(head.text().encode()))

    def countersigned(self, size: int, now: int) -> None:
        """Enough peers echoed the announced head of `size`: it is what the next boot's log begins from."""
        if size <= self._countersigned or size not in self._heads:
            return
        self._countersigned = size
        if now - self._kept_at >= KEEP_EVERY_S:
            self._kept_at = now
            kept = _Kept(boot_counter=self._identity.public.boot_counter, size=size, root=self._heads[size])
            self._store.put(*_STORED, encode(kept))

    def page(self, boot_counter: int, start: int, count: int) -> LogEntriesReply:
        """Entries from `start` on; raises CallerError (`log.boot`, `log.page`)."""
        own = self._identity.public
        if boot_counter != own.boot_counter:
            raise CallerError("that boot's log ended with it", code="log.boot")
        if not 0 <= start <= self.size or not 1 <= count <= PAGE_ENTRIES_MAX:
            raise CallerError(f"expected a start within the log and 1 to {PAGE_ENTRIES_MAX} entries", code="log.page")
        self._fetched = max(self._fetched, start)
        while len(self._entries) > RECENT_MAX and self._base < self._fetched:
            self._entries.popleft()
            self._base += 1
        first = max(start, self._base)
        entries: list[bytes] = []
        room = PAGE_BYTES_MAX
        for entry in islice(self._entries, first - self._base, first - self._base + count):
            room -= len(entry)
            if room < 0:
                break
            entries.append(entry)
        return LogEntriesReply(boot_counter=boot_counter, size=self.size, start=first, entries=entries)
