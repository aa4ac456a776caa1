"""What this node has verified of every node, itself included: the table each operation looks into.

Rules kept (specs/node.md section 3): only evidence over a nonce of this node counts, and each nonce once;
a registry snapshot or collateral is never replaced by an older one; every change of either judges all
evidence again; which boot of a slot counts is told by enclave.boots; what cannot be judged
is `attestation-unavailable`, never trusted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from attestation.collateral import Collateral
from attestation.collateral_origin import vouched
from attestation.errors import CodedError, CollateralError, CollateralMissingError, StatementError
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.verifier import Verifier
from enclave.boots import BootBook
from enclave.diversity import NodeFacts
from enclave.errors import CallerError, RefusedError, VerdictError
from enclave.identity import PURPOSE
from enclave.presentation import PeerStanding, check_presentation, verifier_for
from enclave.roster import Roster
from enclave.wire.attestation import Identity, PeerVerdict, Presentation

TRUSTED = "trusted"
DENIED = "attestation-denied"
STALE = "attestation-stale"
UNAVAILABLE = "attestation-unavailable"

NONCE_S = 60
"""Seconds a challenge nonce is accepted."""

NONCES_MAX = 256
"""Challenge nonces outstanding per connection: one per peer and round; a flood displaces only its own."""

EVIDENCE_S_MAX = 24 * 3600
"""Seconds evidence of a signer counts."""

ASSEMBLER_EVIDENCE_S_MAX = 3600
"""Seconds evidence of an assembler counts: it holds whole keys while it works."""

COLLATERAL_ITEMS_MAX = 512
"""Documents a node takes and holds: a handful per platform family and one certificate per machine of 64 slots."""

CLOCK_SKEW_S_MAX = 5
"""Seconds by which a verified registry checkpoint may lie ahead of this node's clock before it stops working."""


_ANY_AGE_S = 1 << 40

Basis = tuple[Presentation, bytes, PeerStanding | None, RegistrySnapshot | None, Collateral | None]
"""What a verdict follows from: presentation, own nonce, standing, registry, collateral; the same objects as long as
nothing changed."""


@dataclass(slots=True, kw_only=True)
class _Row:
    presentation: Presentation
    nonce: bytes
    received_at: int
    result: str = UNAVAILABLE
    reason: str = "not judged yet"
    standing: PeerStanding | None = None
    proven: bool = False
    """Whether it ever verified: from then on it fixes what may follow in its slot."""


class VerdictTable:
    """Challenges, evidence, and who is trusted now."""

    def __init__(
        self,
        *,
        roster: Roster,
        verifier: Verifier,
        boots: BootBook | None = None,
        counts: Callable[[bytes, int], bool] | None = None,
    ) -> None:
        """`counts` tells whether evidence may name a roster digest at a time; without it only `roster`'s."""
        self._roster = roster
        self.verifier = verifier
        self.boots = boots or BootBook()
        self._counts = counts or (lambda digest, _now: digest == self._roster.digest)
        self._nonces: dict[int, dict[bytes, int]] = {}
        self._rows: dict[str, _Row] = {}
        self.collateral: Collateral | None = None
        self.snapshot: RegistrySnapshot | None = None
        self._floor: RegistrySnapshot | None = None
        """A snapshot that the present registry terms do not verify: it still forbids older ones."""
        self.is_alive: Callable[[Identity], bool] = lambda identity: True  # noqa: ARG005  set by the node
        """Whether a heartbeat of that boot is at most ten seconds old (enclave.heartbeats)."""

    def follow(self, roster: Roster, now: int) -> None:
        """Judge everything by another roster from now on."""
        before, self._roster = self._roster, roster
        if before.simulated_roots != roster.simulated_roots:
            self.verifier = verifier_for(roster)
        if before.proof_of_cloud != roster.proof_of_cloud and self.snapshot is not None:
            held, self.snapshot = self.snapshot, None
            # Nothing of another registry's numbers can be compared with; while one member stays, it can.
            stays = set(before.proof_of_cloud.members.values()) & set(roster.proof_of_cloud.members.values())
            self._floor = held if stays else None
            with contextlib.suppress(StatementError):
                self.snapshot = self._verified(bytes(held.encode()), now, _ANY_AGE_S)
        self._judge_all(now)

    # --- operations look here ------------------------------------------------------------------------

    def require(self, slots: Iterable[str], now: int, *, evidence_s_max: int = EVIDENCE_S_MAX) -> None:
        """Return only if every slot is trusted now.

        Raises VerdictError with the code of the first that is not; RefusedError (`clock-skew`) if the newest
        registry checkpoint shows that this node's clock is behind.
        """
        self._check_clock(now)
        for slot in slots:
            result, reason = self._current(slot, now, evidence_s_max)
            if result != TRUSTED:
                raise VerdictError(f"{slot}: {reason}", code=result, hint=_HINTS[result])
            if not self.is_alive(self._rows[slot].presentation.identity):
                raise VerdictError(f"{slot}: no heartbeat of it within 10 s", code=STALE, hint="relay heartbeats")

    def identity(self, slot: str, now: int, *, evidence_s_max: int = EVIDENCE_S_MAX) -> Identity:
        """The attested keys of a slot that is trusted now; raises as `require` does."""
        self.require([slot], now, evidence_s_max=evidence_s_max)
        return self._rows[slot].presentation.identity

    def basis(self, slot: str) -> Basis | None:
        """What the verdict on a slot follows from, or None if no evidence of it was ever accepted or held."""
        row = self._rows.get(slot)
        return None if row is None else (row.presentation, row.nonce, row.standing, self.snapshot, self.collateral)

    def attested(self, slot: str, now: int) -> Identity | None:
        """The keys of a slot whose evidence counts now, heard of lately or not; None for any other."""
        result, _ = self._current(slot, now, EVIDENCE_S_MAX)
        return self._rows[slot].presentation.identity if result == TRUSTED else None

    def facts(self, slots: Iterable[str], now: int) -> list[NodeFacts]:
        """What is established of slots that are all trusted now; raises as `require` does."""
        slots = list(slots)
        self.require(slots, now)
        standings = (self._rows[slot].standing for slot in slots)
        return [standing.facts for standing in standings if standing is not None]

    def row(self, slot: str, now: int) -> PeerVerdict:
        """One row as others may see it."""
        result, reason = self._current(slot, now, EVIDENCE_S_MAX)
        row = self._rows.get(slot)
        standing = row.standing if row is not None else None
        return PeerVerdict(
            slot=slot,
            boot_counter=row.presentation.identity.boot_counter if row is not None else 0,
            result=result,
            reason=reason,
            platform_id=str(standing.platform_id) if standing is not None else "",
            valid_until=min(standing.valid_until, row.received_at + EVIDENCE_S_MAX) if row and standing else 0,
            alive=row is not None and self.is_alive(row.presentation.identity),
        )

    # --- evidence ------------------------------------------------------------------------------------

    def challenge(self, connection: int, now: int) -> bytes:
        """A fresh 32-byte nonce for one gateway connection, good once within 60 s."""
        nonces = self._nonces.setdefault(connection, {})
        for nonce in [nonce for nonce, expires_at in nonces.items() if expires_at < now]:
            del nonces[nonce]
        while len(nonces) >= NONCES_MAX:
            del nonces[next(iter(nonces))]
        nonce = os.urandom(32)
        nonces[nonce] = now + NONCE_S
        return nonce

    def disconnect(self, connection: int) -> None:
        """Forget the nonces of a connection that is gone."""
        self._nonces.pop(connection, None)

    def judge(self, connection: int, presentation: Presentation, now: int) -> PeerVerdict:
        """Judge fresh evidence and return its verdict; a failure never displaces evidence that is trusted.

        Raises CallerError (`nonce.unknown`) if it answers no live nonce this connection asked for.
        """
        nonce = self._take_nonce(connection, presentation, now)
        identity = presentation.identity
        held = self._rows.get(identity.slot)
        row = _Row(presentation=presentation, nonce=nonce, received_at=now)
        refusal = _purpose(identity) or self.boots.refusal(identity)
        if refusal is not None:
            return _refused(identity, refusal)
        self._appraise(row, now, self.collateral)
        if row.proven and row.standing is not None:
            named = self._roster.slot(identity.slot).measurements
            registers = {name: row.standing.claims.measurements[name] for name in named}
            refusal = self.boots.admit(presentation, registers)
            if refusal is not None:
                return _refused(identity, refusal)
        known = {entry.slot for entry in self._roster.slots}
        if identity.slot in known and (row.proven or held is None or not held.proven):
            self._rows[identity.slot] = row
            return self.row(identity.slot, now)
        return _refused(identity, row.reason, result=row.result)

    # --- what evidence is judged by -------------------------------------------------------------------

    def offer_collateral(self, blobs: list[bytes], now: int) -> bool:
        """Merge newer collateral and judge again; returns whether anything changed.

        Nobody vouches for the bearer, so what the roster's roots did not sign is left out: kept, a forged
        document with a later date would keep out the genuine ones for good.  Collateral that breaks a verdict
        by being malformed or wrongly signed is refused whole; one that revokes, by whatever verifies, is taken.

        Raises CollateralError, also if nothing of it is signed under the roots.
        """
        offered = self._genuine(Collateral.of(*blobs), now)
        merged = offered if self.collateral is None else self.collateral.merged(offered)
        if _size(merged) > COLLATERAL_ITEMS_MAX:
            raise CollateralError(f"expected at most {COLLATERAL_ITEMS_MAX} documents", code="collateral.too-large")
        if self.collateral is not None and merged.digest == self.collateral.digest:
            return False
        trusted = [row for row in self._rows.values() if row.result == TRUSTED]
        for row in trusted:
            try:
                self._check(row, now, merged)
            except CollateralError:
                raise
            except CodedError:
                continue
        self.collateral = merged
        self._judge_all(now)
        return True

    def offer_snapshot(self, data: bytes, now: int) -> bool:
        """Take a newer registry snapshot and judge again; returns whether it is new.

        Raises StatementError: `proof-of-cloud.rollback` for an older one, or why it does not verify.
        """
        snapshot = self._verified(data, now, self._roster.proof_of_cloud.max_age_s)
        if self.snapshot is not None and snapshot.sequence == self.snapshot.sequence:
            return False
        self.snapshot = snapshot
        self._judge_all(now)
        return True

    def restore_snapshot(self, data: bytes, now: int) -> None:
        """Bring back the snapshot held before a restart, however old: it still forbids older ones.

        Raises StatementError; RefusedError (`clock-skew`) if the clock is behind it.
        """
        self.snapshot = self._verified(data, now, _ANY_AGE_S)
        self._check_clock(now)

    # --- inside --------------------------------------------------------------------------------------

    def _genuine(self, offered: Collateral, now: int) -> Collateral:
        if _size(offered) > COLLATERAL_ITEMS_MAX:
            raise CollateralError(f"expected at most {COLLATERAL_ITEMS_MAX} documents", code="collateral.too-large")
        held = self.collateral.certificates if self.collateral is not None else ()
        genuine = vouched(offered, self.verifier.roots, now, also=held)
        if _size(genuine) == 0 < _size(offered):
            raise CollateralError("nothing of it is signed under the roster's roots", code="collateral.signer")
        return genuine

    def _verified(self, data: bytes, now: int, age_s_max: int) -> RegistrySnapshot:
        terms = self._roster.proof_of_cloud
        return RegistrySnapshot.parse(data).verify(
            terms.members,
            terms.threshold,
            terms.freshness_key,
            now,
            age_s_max,
            previous=self.snapshot or self._floor,
        )

    def _current(self, slot: str, now: int, evidence_s_max: int) -> tuple[str, str]:
        row = self._rows.get(slot)
        if row is None:
            return UNAVAILABLE, "no evidence seen"
        if row.standing is None or row.result != TRUSTED:
            return row.result, row.reason
        if self.snapshot is None:
            return UNAVAILABLE, "no registry snapshot"
        if now - self.snapshot.issued_at > self._roster.proof_of_cloud.max_age_s:
            return STALE, "registry snapshot is too old"
        if not self._counts(row.presentation.identity.roster_digest, now):
            return STALE, "evidence names a roster that no longer counts"
        if now - row.received_at > evidence_s_max:
            return STALE, f"evidence is older than {evidence_s_max} s"
        if now > row.standing.valid_until:
            return STALE, "what the evidence was verified with has expired"
        return TRUSTED, ""

    def _check_clock(self, now: int) -> None:
        if self.snapshot is not None and self.snapshot.issued_at > now + CLOCK_SKEW_S_MAX:
            raise RefusedError(
                "this node's clock is behind a verified registry checkpoint", code="clock-skew", hint="fix its clock"
            )

    def _take_nonce(self, connection: int, presentation: Presentation, now: int) -> bytes:
        nonces = self._nonces.get(connection, {})
        for nonce in presentation.nonces:
            expires_at = nonces.pop(nonce, None)
            if expires_at is not None and expires_at >= now:
                return nonce
        raise CallerError(
            "presentation answers no live nonce of this node and connection",
            code="nonce.unknown",
            hint="ask for a challenge first",
        )

    def _judge_all(self, now: int) -> None:
        for row in self._rows.values():
            self._appraise(row, now, self.collateral)

    def _appraise(self, row: _Row, now: int, collateral: Collateral | None) -> None:
        row.standing = None
        if collateral is None:
            row.result, row.reason = UNAVAILABLE, "no collateral"
        elif self.snapshot is None:
            row.result, row.reason = UNAVAILABLE, "no registry snapshot"
        else:
            try:
                row.standing = self._check(row, now, collateral)
                row.result, row.reason, row.proven = TRUSTED, "", True
            except CodedError as error:
                row.result, row.reason = _result_of(error), str(error)

    def _check(self, row: _Row, now: int, collateral: Collateral) -> PeerStanding:
        assert self.snapshot is not None
        digest = row.presentation.identity.roster_digest
        return check_presentation(
            row.presentation,
            roster=self._roster,
            own_nonce=row.nonce,
            verifier=self.verifier,
            collateral=collateral,
            snapshot=self.snapshot,
            now=now,
            also=(digest,) if self._counts(digest, now) else (),
        )


_HINTS = {
    DENIED: "this machine or its code is not accepted: see the reason, and the registry",
    STALE: "present fresh evidence, collateral and registry to this node",
    UNAVAILABLE: "present evidence, collateral and the registry to this node",
}


def _size(collateral: Collateral) -> int:
    parts = (collateral.tcb_infos, collateral.identities, collateral.crls, collateral.certificates)
    return sum(len(part) for part in parts)


def _result_of(error: CodedError) -> str:
    """The public code for why evidence did not verify."""
    if isinstance(error, VerdictError):
        return error.code
    if isinstance(error, CollateralMissingError):
        return UNAVAILABLE
    if error.code.endswith((".stale", ".expired")):
        return STALE
    return DENIED


def _purpose(identity: Identity) -> str | None:
    return None if identity.purpose == PURPOSE else f"expected evidence for purpose {PURPOSE}"


def _refused(identity: Identity, reason: str, *, result: str = DENIED) -> PeerVerdict:
    return PeerVerdict(
        slot=identity.slot,
        boot_counter=identity.boot_counter,
        result=result,
        reason=reason,
        platform_id="",
        valid_until=0,
    )
