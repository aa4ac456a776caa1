"""The lease: a node works only while enough peers have just echoed it (specs/heartbeats.md section 4).

Rules kept: time is this node's monotonic clock; an echo counts from when the echoed heartbeat was made, so that
nothing a relay delays or repeats lasts longer; work begins only when `q` peers have taken this boot and its
identity for the newest, and none of them can still be echoing an older one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from enclave.errors import RefusedError
from enclave.heartbeats.bounds import LEASE_S, LEAVES_UNSIGNED_MAX, SENT_MAX
from enclave.roster_terms import WitnessTerms
from enclave.wire.heartbeats import Seen

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    at: float
    log_size: int
    log_root: bytes


@dataclass(slots=True, kw_only=True)
class _Support:
    """What one peer said of this node."""

    identity: bytes = b""
    """The peer's identity key when it last echoed this node."""
    until: float = float("-inf")
    """End of the lease this peer gives, monotonic."""
    ready_at: float = float("inf")
    """From when on this peer echoes no older boot; infinity while it has not acknowledged this one."""
    log_size: int = 0
    """Largest own checkpoint it countersigned."""
    other: int | None = None
    """A boot counter it takes for newer, or this boot under another identity."""


class Lease:
    """This boot's standing with its peers."""

    def __init__(
        self, terms: WitnessTerms, monotonic: Callable[[], float], *, boot_counter: int, digest: bytes
    ) -> None:
        """`digest` is SHA-256 of this boot's identity key."""
        self._terms = terms
        self._monotonic = monotonic
        self._boot_counter = boot_counter
        self._digest = digest
        self._sent: dict[int, _Sent] = {}
        self._supports: dict[str, _Support] = {}
        self._until = self._ready_at = float("inf")
        self._covered = 0
        self._count()

    def note_sent(self, sequence: int, *, log_size: int, log_root: bytes) -> None:
        """An own heartbeat is about to leave."""
        self._sent[sequence] = _Sent(at=self._monotonic(), log_size=log_size, log_root=log_root)
        while len(self._sent) > SENT_MAX:
            del self._sent[next(iter(self._sent))]

    def note_echo(self, peer: str, identity: bytes, echo: Seen | None) -> float | None:
        """What a peer's verified heartbeat says of this node; `identity` is the peer's key.

        Returns when the echoed heartbeat was made (monotonic): the peer's is of after that; None without a valid echo.
        """
        support = self._supports.setdefault(peer, _Support())
        if echo is None:
            return None
        if echo.boot_counter != self._boot_counter or echo.identity != self._digest:
            # An older boot only means that it has not heard of this one yet.
            support.other = echo.boot_counter if echo.boot_counter >= self._boot_counter else None
            return None
        support.other = None
        sent = self._sent.get(echo.sequence)
        if sent is None or (sent.log_size, sent.log_root) != (echo.log_size, echo.log_root):
            return None  # of before the window, or of a heartbeat this node never made
        support.identity = identity
        support.until = max(support.until, sent.at + LEASE_S)
        support.ready_at = min(support.ready_at, self._monotonic() + echo.wait_ms / 1000)
        support.log_size = max(support.log_size, sent.log_size)
        self._count()
        return sent.at

    def follow(self, terms: WitnessTerms) -> None:
        """Count by other numbers from now on."""
        self._terms = terms
        self._count()

    def hears(self, peer: str, identity: bytes) -> bool:
        """Whether a heartbeat of `peer` under that identity key was made less than ten seconds ago."""
        support = self._supports.get(peer)
        return support is not None and support.identity == identity and self._monotonic() < support.until

    @property
    def countersigned(self) -> int:
        """Entries of this node's log under a checkpoint that enough peers have echoed."""
        return self._covered

    @property
    def is_claimed(self) -> bool:
        """Whether this boot has been free to work: enough peers took it for the newest, and older leases are over."""
        return self._ready_at <= self._monotonic()

    @property
    def is_held(self) -> bool:
        """Whether this node may work by its lease."""
        at = self._monotonic()
        return self._ready_at <= at < self._until

    def check(self) -> None:
        """Raise RefusedError (`lease-fenced`, `lease-unclaimed`, `lease-waiting`, `lease-lost`) without a lease."""
        at = self._monotonic()
        if self._ready_at <= at < self._until:
            return
        others = [support.other for support in self._supports.values() if support.other is not None]
        if others:
            raise RefusedError(
                f"{len(others)} peers know another run of this node (boot {max(others)}); this is boot"
                f" {self._boot_counter}",
                code="lease-fenced",
                hint="two copies of this node are running, or its disk was rolled back: stop one",
            )
        if self._ready_at == float("inf"):
            raise RefusedError(
                f"fewer than {self._terms.q} peers have acknowledged this boot",
                code="lease-unclaimed",
                hint="it needs a relay to them, and their trust in its evidence",
            )
        if at < self._ready_at:
            raise RefusedError(
                f"the boot before this one may work for another {self._ready_at - at:.1f} s",
                code="lease-waiting",
                hint="wait",
            )
        raise RefusedError(
            f"fewer than {self._terms.a} peers have echoed this node within {LEASE_S:.0f} s",
            code="lease-lost",
            hint="it needs a relay to its peers",
        )

    def check_log(self, size: int) -> None:
        """Raise RefusedError (`log-behind`) if too much of the log of `size` entries is not countersigned."""
        if self._terms.a and size - self._covered > LEAVES_UNSIGNED_MAX:
            raise RefusedError(
                f"peers have countersigned {self._covered} of {size} log entries",
                code="log-behind",
                hint="it needs a relay to its peers",
            )

    def _count(self) -> None:
        """The a-th latest end and the q-th earliest beginning decide."""
        supports, terms = list(self._supports.values()), self._terms
        ends = sorted((item.until for item in supports), reverse=True)
        covers = sorted((item.log_size for item in supports), reverse=True)
        # A node without peers has nobody to ask.
        self._until = _nth(ends, terms.a, float("-inf")) if terms.a else float("inf")
        starts = sorted(item.ready_at for item in supports)
        self._ready_at = _nth(starts, terms.q, float("inf")) if terms.q else float("-inf")
        self._covered = _nth(covers, terms.a, 0)


def _nth(values: list[T], number: int, default: T) -> T:
    """The value at place `number`, counted from 1."""
    return values[number - 1] if 0 < number <= len(values) else default
