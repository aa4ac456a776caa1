"""Held or fetched, whichever is newer: the monotone rule, and a record of what happened to each document.

Rules: a held document counts only if it passes the same checks as a fetched one; a fetched
document never replaces a newer held one; a list from which entries have disappeared is accepted
if it is newer, because vendors do remove entries, and told as an alarm; a held document from the
future means that this machine's clock was set back, and stops everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from attestation.collateral_items import CrlItem, IdentityItem, TcbInfoItem
from attestation.errors import AttestationError, FetchError
from attestation.fetch.http import Response
from attestation.fetch.source import OlderError, Source, Wanted
from attestation.instant import format_instant
from attestation.x509 import Certificate

Dated = TcbInfoItem | IdentityItem | CrlItem
D = TypeVar("D", TcbInfoItem, IdentityItem, CrlItem)
T = TypeVar("T")

NEW, UNCHANGED, KEPT = "new", "unchanged", "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What happened to one document."""

    name: str
    outcome: str
    """`new`, `unchanged` (the newest is the one held) or `kept` (no endpoint could give a newer one)."""
    issued: int
    """Unix seconds."""
    next_update: int
    reason: str | None = None

    def to_json(self) -> dict[str, object]:
        """As a JSON object, times in RFC 3339."""
        value: dict[str, object] = {
            "document": self.name,
            "outcome": self.outcome,
            "issued": format_instant(self.issued),
            "next_update": format_instant(self.next_update),
        }
        return value if self.reason is None else value | {"reason": self.reason}


@dataclass(slots=True, kw_only=True)
class Keeper:
    """Decides document by document; `notes` and `alarms` tell what was decided."""

    source: Source
    notes: list[Note] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    def newest(self, wanted: Wanted, judge: Callable[[Response], D], held: Iterable[Response]) -> D:
        """The newest acceptable document; raises FetchError if there is none at all."""
        best = max((item for item in map(_tried(judge), held) if item is not None), key=_rank, default=None)

        def newer(answer: Response) -> D:
            item = judge(answer)
            if best is not None and item.rank < best.rank:
                raise OlderError("the endpoint is behind what is held")
            return item

        try:
            item = self.source.fetch(wanted, newer)
        except FetchError as error:
            if best is None:
                raise
            self._note(wanted, KEPT, best, error.detail)
            return best
        if best is not None and item.rank == best.rank:
            self._note(wanted, UNCHANGED, best)
            return best
        self._note(wanted, NEW, item)
        if isinstance(item, CrlItem) and isinstance(best, CrlItem):
            self._watch_shrinking(wanted, best, item)
        return item

    def lasting(
        self, wanted: Wanted, judge: Callable[[Response], Certificate], held: Iterable[Response]
    ) -> Certificate:
        """A certificate: one held and still good is not asked for again, since it can only be the same."""
        for item in map(_tried(judge), held):
            if item is not None:
                self._note(wanted, UNCHANGED, item)
                return item
        item = self.source.fetch(wanted, judge)
        self._note(wanted, NEW, item)
        return item

    def _note(self, wanted: Wanted, outcome: str, item: Dated | Certificate, reason: str | None = None) -> None:
        issued, next_update = _dates(item)
        self.notes.append(
            Note(name=wanted.name, outcome=outcome, issued=issued, next_update=next_update, reason=reason)
        )

    def _watch_shrinking(self, wanted: Wanted, before: CrlItem, after: CrlItem) -> None:
        gone = before.crl.serials - after.crl.serials
        if gone:
            self.alarms.append(
                f"{wanted.name}: {len(gone)} of {len(before.crl.serials)} entries are no longer listed"
                f" ({len(after.crl.serials)} now)"
            )


def _rank(item: Dated) -> tuple[int, int]:
    return item.rank


def _tried(judge: Callable[[Response], T]) -> Callable[[Response], T | None]:
    def try_one(answer: Response) -> T | None:
        try:
            return judge(answer)
        except AttestationError as error:
            if error.code in ("collateral.not-yet-valid", "crl.not-yet-valid"):
                raise FetchError(
                    f"this machine's clock is behind a document it already holds: {error.detail}",
                    code="fetch.clock",
                    hint="set the clock; nothing was changed",
                ) from None
            return None

    return try_one


def _dates(item: Dated | Certificate) -> tuple[int, int]:
    if isinstance(item, Certificate):
        return item.not_before, item.not_after
    if isinstance(item, CrlItem):
        return item.crl.this_update, item.crl.next_update
    document = item.info if isinstance(item, TcbInfoItem) else item.identity
    return document.issued, document.next_update
