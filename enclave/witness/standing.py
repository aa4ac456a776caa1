"""One node's own side: advance its counter, gather acknowledgements, and at a start learn whether it was rolled back.

Rules kept (specs/rollback.md): nothing advances before the state found at the start is settled, so no number of
restarts makes an old state look newer; settled takes the answers of q peers, each fresh in this boot; one
answer with this slot's own MAC that shows more than is held here refuses the state for good, and nothing is
deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from enclave.errors import RefusedError, StorageError
from enclave.roster import Environment, Roster
from enclave.seal import SealedStore
from enclave.tee import Tee
from enclave.wire.heartbeats import Seen
from enclave.wire.message import tagged
from enclave.witness.statement import Maker, Statement, read

OWN = ("witness", "own")
"""Where the newest own statement is sealed."""

UNWITNESSED = frozenset(
    {
        "boot",
        "boot-chain",
        "budget",
        "collateral",
        "fork-proof",
        "heard",
        "log",
        "nonce",
        "nonce-floor",
        "peer",
        "registry",
        "witness",
        "witnessed",
    }
)
"""Kinds of sealed rows whose change is not worth an advance: they are learnt again, or have their own bound."""

WAITING_MAX = 4096
"""Answers that wait for witnesses at once; the oldest are forgotten and wait anew."""

COLD_START_LIMIT = "cold_start_operator"
"""Roster limit by which a development cluster, too, asks an operator after everything was restarted."""


class Witness:
    """This slot's counter, in this boot."""

    def __init__(self, store: SealedStore, tee: Tee, roster: Roster, *, slot: str, boot_counter: int) -> None:
        """Raises StorageError, TeeError."""
        self._store = store
        self._boot_counter = boot_counter
        self._maker = Maker(tee, cluster=roster.cluster_id, slot=slot) if tee.can_seal else None
        """None on a platform that cannot seal: its state is of this boot only, so there is nothing to roll back."""
        held = store.get(*OWN)
        self.own = read(held) if held is not None else None
        if held is not None and self.own is None:
            raise StorageError("a sealed record does not have its form", code="storage.form")
        self.bytes = held or b""
        """The newest own statement as it travels."""
        self._terms = roster.witness_terms
        self._incarnation = roster.incarnation
        self._asks_operator = _asks_operator(roster)
        self._answers: dict[str, bool] = {}
        """Peers whose answer agrees with what is held here, and whether they were settled themselves."""
        self._told: dict[str, Statement | None] = {}
        self._newer: Statement | None = None
        self._confirmed = False
        self._acknowledged: dict[str, int] = {}
        self._waiting: dict[bytes, int] = {}
        """The counter that answers wait for."""
        self.is_settled = self._maker is None or self._terms.q == 0

    @property
    def counter(self) -> int:
        """How often this slot's state advanced."""
        return self.own.counter if self.own is not None else 0

    @property
    def digest(self) -> bytes:
        """The chained digest of the newest advance."""
        return self.own.digest if self.own is not None else bytes(32)

    def follow(self, roster: Roster) -> None:
        """Count by another roster; a new incarnation makes statements of older ones void."""
        self._terms, self._asks_operator = roster.witness_terms, _asks_operator(roster)
        if roster.incarnation != self._incarnation:
            self._incarnation = roster.incarnation
            self._newer = None
            self._answers.clear()
            self._told.clear()
            self._acknowledged.clear()
        self._settle()

    def advance(self) -> None:
        """Count up if anything witnessed changed since the last time; durable with the store's next commit."""
        if self._maker is None or not self.is_settled or not self.is_behind:
            return
        self._store.written.clear()
        digest = hashlib.sha256(tagged("witness-state", self.digest, self._store.digest)).digest()
        self.own = Statement(
            incarnation=self._incarnation,
            boot_counter=self._boot_counter,
            counter=self.counter + 1,
            digest=digest,
        )
        self.bytes = self._maker.make(self.own)
        self._store.put(*OWN, self.bytes)
        self._store.written.clear()

    @property
    def is_behind(self) -> bool:
        """Whether the state changed since the last advance."""
        return bool(self._store.written - UNWITNESSED)

    def hear(self, peer: str, echo: Seen, *, is_warm: bool) -> None:
        """A peer's valid echo of this boot: what it has stored, and, until this node is settled, its answer."""
        self._acknowledged[peer] = max(self._acknowledged.get(peer, 0), echo.kept_counter)
        if self.is_settled or self._maker is None:
            return
        kept = read(echo.kept)
        if kept is not None and not self._maker.is_own(kept):
            return  # not this slot's word, so not an answer at all
        if echo.kept and kept is None:
            return
        if kept is not None and kept.incarnation != self._incarnation:
            kept = None  # of a life of this cluster that has ended
        if kept is not None and self._shows_more(kept):
            if self._newer is None or kept.counter > self._newer.counter:
                self._newer = kept
            return
        self._answers[peer] = is_warm
        self._told[peer] = kept
        self._settle()

    def confirm(self, counters: Mapping[str, tuple[int, bytes]], slot: str, others: Mapping[str, Statement]) -> None:
        """An operator says where every slot stood when all were restarted.

        `others` are the statements this node keeps of its peers.  Raises RefusedError (`cold-start.differs`).
        """
        agrees = counters.get(slot) == (self.counter, self.digest) and all(
            name in counters and (kept.counter < counters[name][0] or (kept.counter, kept.digest) == counters[name])
            for name, kept in others.items()
        )
        if not agrees or self._newer is not None:
            raise RefusedError(
                "the counters differ from what is sealed here",
                code="cold-start.differs",
                hint="a disk is not the newest: repair that node, or restore the cluster as a new incarnation",
            )
        self._confirmed = True
        self._settle()

    def check(self) -> None:
        """Raise RefusedError (`state-rolled-back`, `state-unsettled`, `cold-start`) unless the state is the newest."""
        if self.is_settled:
            return
        if self._newer is not None:
            raise RefusedError(
                f"this node's sealed state is at {self.counter}, its peers have seen {self._newer.counter}",
                code="state-rolled-back",
                hint="keep the disk as it is, and repair this node from its peers",
            )
        if len(self._answers) < self._terms.q:
            raise RefusedError(
                f"{len(self._answers)} of {self._terms.q} peers have said how far this node's state had come",
                code="state-unsettled",
                hint="it needs a relay to its peers",
            )
        raise RefusedError(
            "too many nodes were restarted at once to know that none was rolled back",
            code="cold-start",
            hint="an operator confirms it: kms cluster cold-start",
        )

    def check_covered(self, what: bytes) -> None:
        """Raise RefusedError (`witness-pending`) until q peers have stored the state as it was when first asked.

        `what` names the answer that waits: asked again, it waits for the same advance.
        """
        if self._maker is None or self._terms.q == 0:
            return
        needed = self._waiting.setdefault(what, self.counter + self.is_behind)
        stored = sorted(self._acknowledged.values(), reverse=True)
        if len(stored) >= self._terms.q and stored[self._terms.q - 1] >= needed:
            del self._waiting[what]
            return
        while len(self._waiting) > WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        raise RefusedError(
            "too few peers have stored how far this node's state has come",
            code="witness-pending",
            hint="relay heartbeats and ask again",
        )

    def _shows_more(self, kept: Statement) -> bool:
        return kept.counter > self.counter or (kept.counter == self.counter and kept.digest != self.digest)

    def _settle(self) -> None:
        """Enough answers, none higher; of settled peers, unless nothing was ever there or an operator said so."""
        if self.is_settled or self._newer is not None or len(self._answers) < self._terms.q:
            return
        is_new = self.own is None and all(kept is None for kept in self._told.values())
        is_warm = sum(self._answers.values()) >= self._terms.q
        self.is_settled = is_new or is_warm or self._confirmed or not self._asks_operator
        if self.is_settled:
            # What the boot before sealed after its last advance gets its witnesses now.
            self._store.written.add("state")


def _asks_operator(roster: Roster) -> bool:
    return roster.environment is Environment.PRODUCTION or roster.limits.get(COLD_START_LIMIT, 0) > 0
