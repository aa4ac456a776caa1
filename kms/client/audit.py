"""The gateway's audit chain: read it and check that nothing in it was changed or left out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from kms.audit import GENESIS, Entry, verify_chain
from kms.client.caller import Caller
from kms.client.verification import member

PAGE_SIZE = 500
"""Entries asked for at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """The last link of a verified chain: keep it, and later history cannot be rewritten unnoticed."""

    sequence: int
    hash: bytes


class Audit:
    """`client.audit`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def page(self, *, after: int = 0, limit: int = PAGE_SIZE) -> list[Entry]:
        """Up to `limit` entries with sequences above `after`, unverified."""
        answer = await self._caller.call(
            "GET", "/v1/audit", act="audit.read", query={"after": str(after), "limit": str(limit)}
        )
        return [Entry.from_json(item) for item in member(answer, "entries", list)]

    async def entries(self, *, since: AuditHead | None = None) -> AsyncIterator[Entry]:
        """Every entry after `since`, each checked to continue the chain; raises AuditError."""
        sequence, head = (since.sequence, since.hash) if since else (0, GENESIS)
        while page := await self.page(after=sequence):
            sequence, head = verify_chain(page, sequence=sequence, head=head)
            for entry in page:
                yield entry

    async def verify(self, *, since: AuditHead | None = None) -> AuditHead:
        """Check the whole chain (or what follows `since`) and return its head; raises AuditError."""
        head = since or AuditHead(sequence=0, hash=GENESIS)
        async for entry in self.entries(since=since):
            head = AuditHead(sequence=entry.sequence, hash=entry.hash)
        return head
