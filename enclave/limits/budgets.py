"""A node's counters of budgets: in memory exact, on disk as marks that run ahead by at most one chunk.

Rules kept: a request takes its value once, whatever comes of it; a mark is on disk before anything that counts on
it leaves; a window that was left is never entered again; nothing is ever given back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from enclave.errors import RefusedError, StorageError
from enclave.limits.windows import Window
from enclave.seal import SealedStore

KIND = "budget"
"""Kind of the rows in the sealed store."""

CHUNKS = 16
"""Parts of a limit by which marks advance: a restart loses at most one, a busy key writes sixteen rows per window."""

COUNTERS_MAX = 100_000
"""Counters held, about 40 MB; full means refuse."""

_MARK_BYTES = 64
_TIME_BYTES = 8
ROW_BYTES = 2 * _TIME_BYTES + _MARK_BYTES
"""Size of a sealed mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one request takes from one counter."""

    counter: str
    """Policy, budget, asset, window kind and subject: the counter's name for good."""
    budget: str
    amount: int
    limit: int
    """Both in parts of a base unit, see enclave.limits.allowance."""
    window: Window


@dataclass(slots=True, kw_only=True)
class _Counter:
    window: Window
    spent: int
    mark: int
    """What is on disk; never below `spent`."""


class Budgets:
    """Every counter of a node."""

    def __init__(self, store: SealedStore, *, counters_max: int = COUNTERS_MAX) -> None:
        """Load the marks; raises StorageError if a row does not have its form."""
        self._store = store
        self._counters_max = counters_max
        self._counters: dict[str, _Counter] = {name: _decode(value) for name, value in store.items(KIND)}
        self._charged: dict[int, set[tuple[bytes, str]]] = {}
        """(request id, counter) by the second the request's token expires."""

    def check(self, bills: Sequence[Bill], request_id: bytes, now: int) -> None:
        """Raise RefusedError (`budget.exceeded`, `budget.full`) unless every bill can be paid; changes nothing."""
        self._forget(now)
        for bill in self._open(bills, request_id):
            counter = self._counters.get(bill.counter)
            if counter is None and len(self._counters) >= self._counters_max and not self._evict(now):
                raise RefusedError("this node counts too many budgets already", code="budget.full")
            spent, window = _standing(counter, bill)
            if spent + bill.amount > bill.limit:
                raise RefusedError(
                    f"budget {bill.budget} does not cover it at this node until {window.end}",
                    code="budget.exceeded",
                    hint="`kms policy budgets` shows what is left and when it resets",
                )

    def charge(self, bills: Sequence[Bill], request_id: bytes, expires_at: int) -> None:
        """Take what `check` found to be there, once per request; durable after the store's next commit."""
        for bill in list(self._open(bills, request_id)):
            self._charged.setdefault(expires_at, set()).add((request_id, bill.counter))
            counter = self._counters.get(bill.counter)
            spent, window = _standing(counter, bill)
            spent += bill.amount
            mark = counter.mark if counter is not None and counter.window == window else 0
            if counter is None or counter.window != window or spent > mark:
                chunk = max(1, bill.limit // CHUNKS)
                mark = min(bill.limit, -(-spent // chunk) * chunk)
                self._store.put(KIND, bill.counter, _encode(window, mark))
            self._counters[bill.counter] = _Counter(window=window, spent=spent, mark=mark)

    def standing(self, counter: str, window: Window) -> tuple[int, int]:
        """What is spent and what is reserved beyond it, in `window` or the newest one seen."""
        held = self._counters.get(counter)
        if held is None or held.window.start < window.start:
            return 0, 0
        return held.spent, held.mark - held.spent

    def counters(self, prefix: str) -> list[str]:
        """Names of the counters that begin with `prefix`."""
        return sorted(name for name in self._counters if name.startswith(prefix))

    def rows(self, prefix: str) -> dict[str, bytes]:
        """What is spent of the counters that begin with `prefix`, in the form marks are sealed in."""
        found = {name: self._counters[name] for name in self.counters(prefix)}
        return {name: _encode(counter.window, counter.spent) for name, counter in found.items()}

    def adopt(self, rows: dict[str, bytes]) -> None:
        """Take over what other holders spent, where it is more than this node knows of."""
        for name, value in rows.items():
            theirs, mine = _decode(value), self._counters.get(name)
            if mine is not None and (mine.window.start, mine.spent) >= (theirs.window.start, theirs.spent):
                continue
            spent = theirs.spent
            mark = max(spent, mine.mark) if mine is not None and mine.window == theirs.window else spent
            self._counters[name] = _Counter(window=theirs.window, spent=spent, mark=mark)
            self._store.put(KIND, name, _encode(theirs.window, mark))

    def _open(self, bills: Sequence[Bill], request_id: bytes) -> Iterator[Bill]:
        """Those of `bills` that this request has not paid."""
        for bill in bills:
            name = (request_id, bill.counter)
            if bill.amount and not any(name in bucket for bucket in self._charged.values()):
                yield bill

    def _forget(self, now: int) -> None:
        for second in [second for second in self._charged if second < now]:
            del self._charged[second]

    def _evict(self, now: int) -> bool:
        """Drop counters whose window is over; True if that made room."""
        for name in [name for name, counter in self._counters.items() if counter.window.end <= now]:
            del self._counters[name]
            self._store.delete(KIND, name)
        return len(self._counters) < self._counters_max


def _standing(counter: _Counter | None, bill: Bill) -> tuple[int, Window]:
    """What is spent and in which window: the bill's, or a later one if the clock was set back since."""
    if counter is None or counter.window.start < bill.window.start:
        return 0, bill.window
    return counter.spent, counter.window


def _encode(window: Window, mark: int) -> bytes:
    return (
        window.start.to_bytes(_TIME_BYTES, "big")
        + window.end.to_bytes(_TIME_BYTES, "big")
        + mark.to_bytes(_MARK_BYTES, "big")
    )


def _decode(value: bytes) -> _Counter:
    if len(value) != 2 * _TIME_BYTES + _MARK_BYTES:
        raise StorageError("a budget's mark does not have its form", code="storage.form")
    start, end, mark = (
        int.from_bytes(part, "big")
        for part in (value[:_TIME_BYTES], value[_TIME_BYTES : 2 * _TIME_BYTES], value[2 * _TIME_BYTES :])
    )
    return _Counter(window=Window(start=start, end=end), spent=mark, mark=mark)
