"""What happens at this gateway, as a stream that loses nothing: the audit chain, told to whoever may see it.

Rules kept: an event's id is its position in the chain, so a subscriber that comes back names the last it saw and
gets everything after it; recent entries are kept encoded once for all, older ones are read again from the store;
each subscriber looks by itself, at its own moment, so that a thousand of them never wake at once beside signatures.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import msgspec

from kms.audit import Entry
from kms.errors import UnavailableError
from kms.fleet.running import keep_running
from kms.store.protocol import Store

POLL_S = 0.2
"""How often the chain is looked at, in seconds."""

RECENT_MAX = 8192
"""Entries kept encoded: some seconds of a busy gateway."""

PAGE = 500
"""Entries read from the store at once by a subscriber that is further behind."""

SUBSCRIBERS_MAX = 4096
"""Most streams at once."""

OWN_MAX = 64
"""Most streams of one agent: what it runs on may be many processes, but it must not take everybody's place."""

RESERVED = 256
"""Streams of the above that only operators can open, however many agents there are."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry as it is sent."""

    position: int
    principal: str
    encoded: bytes


class _Facts(msgspec.Struct):
    kind: str
    principal: str = ""


_FACTS = msgspec.json.Decoder(_Facts)


def event_of(entry: Entry) -> Event:
    """The entry as `id`, `event` and `data` lines (WHATWG HTML, section 9.2)."""
    facts = _FACTS.decode(entry.body)
    # Canonical JSON has no line breaks, so one data line always holds it.
    encoded = b"id: %d\nevent: %s\ndata: %s\n\n" % (entry.sequence, facts.kind.encode(), entry.body)
    return Event(entry.sequence, facts.principal, encoded)


class EventFeed:
    """The newest events of one gateway; `start` before use."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent: deque[Event] = deque(maxlen=RECENT_MAX)
        self._seen = b""
        self.head = 0
        """Position of the newest event told."""
        self.subscribers = 0
        self._agents: Counter[str] = Counter()
        self.is_closed = False

    def start(self) -> asyncio.Task[None]:
        """Follow the chain from its present end."""
        self.head, self._seen = self._store.audit_position, self._store.audit_head
        return keep_running("events", self._follow)

    def close(self) -> None:
        """Let every stream end."""
        self.is_closed = True

    def join(self, principal: str, *, is_operator: bool) -> None:
        """Count one more subscriber; raises UnavailableError (`events.full`)."""
        most = SUBSCRIBERS_MAX if is_operator else SUBSCRIBERS_MAX - RESERVED
        if self.subscribers >= most or (not is_operator and self._agents[principal] >= OWN_MAX):
            raise UnavailableError("too many event streams are open", code="events.full", hint="close some of them")
        self.subscribers += 1
        if not is_operator:
            self._agents[principal] += 1

    def leave(self, principal: str) -> None:
        """Count one less."""
        self.subscribers -= 1
        if self._agents[principal] > 1:
            self._agents[principal] -= 1
        else:
            del self._agents[principal]

    async def after(self, position: int, sees: Callable[[str], bool]) -> tuple[int, bytes]:
        """The new position and what to send: a bounded piece of what lies behind `position`."""
        if position >= self.head:
            return position, b""
        first = self._recent[0].position if self._recent else self.head + 1
        if position + 1 >= first:
            # From the end: a thousand streams look twice a second, and what is new is short.
            events: list[Event] = list(islice(reversed(self._recent), self.head - position))[::-1]
        else:
            entries = await self._store.audit(after=position, limit=PAGE)
            events = [event_of(entry) for entry in entries if entry.sequence <= self.head]
        if not events:
            return position, b""
        return events[-1].position, b"".join([event.encoded for event in events if sees(event.principal)])

    async def _follow(self) -> None:
        while not self.is_closed:
            await asyncio.sleep(POLL_S)
            if self._store.audit_head == self._seen:
                continue
            seen = self._store.audit_head
            while entries := await self._store.audit(after=self.head, limit=PAGE):
                self._recent.extend(event_of(entry) for entry in entries)
                self.head = entries[-1].sequence
            self._seen = seen


def sees_of(principal: str, *, is_auditor: bool) -> Callable[[str], bool]:
    """Whose entries a subscriber is told: auditors everybody's, others their own."""
    return (lambda _principal: True) if is_auditor else (lambda other: other == principal)
