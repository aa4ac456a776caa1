"""The standing of one platform: what its lines, read in order, add up to.

Rules: a later statement never clears a revocation; a reinstatement clears only the earlier entries it numbers,
about the same commitment.  Specification: specs/proof-of-cloud.md section 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from attestation.proof_of_cloud.entries import Entry, Kind
from attestation.proof_of_cloud.statement import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """A revocation or freeze in force: its entry number, reason, time and issuer."""

    sequence: int
    kind: Kind
    reason: str
    issued_at: int
    issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether a platform is listed, and what restricts it."""

    listed: bool
    """A statement about it is in force."""
    revoked: bool
    frozen: bool
    reason: str | None
    """Why it is revoked or frozen."""
    level: int
    """With endorsements in force; 0 when not listed."""
    provider: str
    region: str
    statement: Statement | None
    """The statement in force, at the endorsed level."""
    restrictions: tuple[Restriction, ...]
    """Everything not cleared, oldest first."""
    reinstated: bool
    """An earlier restriction was lifted."""


def standing(lines: Iterable[tuple[int, Entry]], now: int) -> Standing:
    """Fold numbered entries about one commitment, in log order, into its standing at `now` (Unix seconds)."""
    current: Statement | None = None
    endorsements: list[Statement] = []
    open_restrictions: dict[int, Restriction] = {}
    reinstated = False
    for number, entry in lines:
        match entry.kind:
            case Kind.STATEMENT:
                current, endorsements = entry.statement(number), []
            case Kind.ENDORSEMENT:
                endorsements.append(entry.statement(number))
            case Kind.REVOCATION | Kind.FREEZE:
                open_restrictions[number] = Restriction(
                    sequence=number,
                    kind=entry.kind,
                    reason=entry.value["reason"],
                    issued_at=entry.issued_at,
                    issuer=entry.issuer,
                )
            case Kind.REINSTATEMENT:
                for cleared in entry.value["lifts"]:
                    reinstated |= open_restrictions.pop(cleared, None) is not None
    statement = _endorsed(current, endorsements, now)
    restrictions = tuple(open_restrictions.values())
    return Standing(
        listed=statement is not None,
        revoked=any(item.kind is Kind.REVOCATION for item in restrictions),
        frozen=any(item.kind is Kind.FREEZE for item in restrictions),
        reason=_reason(restrictions),
        level=statement.level if statement else 0,
        provider=statement.provider if statement else "",
        region=statement.region if statement else "",
        statement=statement,
        restrictions=restrictions,
        reinstated=reinstated,
    )


def _endorsed(current: Statement | None, endorsements: list[Statement], now: int) -> Statement | None:
    if current is None or not current.in_force(now):
        return None
    witnesses = [item for item in endorsements if item.in_force(now) and item.issuer != current.issuer]
    best = max(witnesses, key=lambda item: item.level, default=None)
    if best is None or best.level <= current.level:
        return current
    return replace(
        current,
        level=best.level,
        method=best.method,
        evidence=tuple(dict.fromkeys((*best.evidence, *current.evidence)))[:16],
        # The raised level lasts no longer than the endorsement that raised it.
        expires_at=min(current.expires_at, best.expires_at),
    )


def _reason(restrictions: tuple[Restriction, ...]) -> str | None:
    revocations = [item for item in restrictions if item.kind is Kind.REVOCATION]
    chosen = (revocations or list(restrictions))[:1]
    return chosen[0].reason if chosen else None
