"""What a new roster takes away and what it gives: restrictions count at once, relaxations after activation.

Rules kept (specs/roster.md section 6): every term is compared; a term neither clearly narrower nor equal counts as a
relaxation; `restricted` allows only what both rosters allow, so that holding it early can never admit anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from attestation.canonical import canonical_json
from enclave.appraisal_change import both, differing, registers_of_both
from enclave.diversity import Dimension, DiversityTerms
from enclave.roster import OperatorEntry, Roster
from enclave.roster_operators import QUORUM_ACTIONS
from enclave.roster_principals import ApproverGroup, OidcIssuer
from enclave.roster_slots import ProofOfCloudTerms, SlotEntry


class Effect(StrEnum):
    """When a change counts."""

    RESTRICTION = "restriction"
    """On receipt: it only takes power away."""
    RELAXATION = "relaxation"
    """After activation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two rosters."""

    effect: Effect
    where: str
    """The place in the roster, e.g. `slots.node-2.measurements.mrtd`."""
    detail: str
    """What is different, in words; values of keys and measurements shortened."""

    def to_json(self) -> dict[str, str]:
        """For programs."""
        return {"effect": str(self.effect), "where": self.where, "detail": self.detail}


def changes(old: Roster, new: Roster) -> tuple[Change, ...]:
    """Every difference between two rosters, restrictions first."""
    found = list(_changes(old, new))
    return tuple(sorted(found, key=lambda change: change.effect is Effect.RELAXATION))


def is_restriction(old: Roster, new: Roster) -> bool:
    """Whether `new` gives nothing that `old` did not give: it counts on receipt."""
    return not any(change.effect is Effect.RELAXATION for change in _changes(old, new))


def admits_code(old: Roster, new: Roster) -> bool:
    """Whether code may run somewhere under `new` that could not run there under `old`: it waits for `upgrade_delay`."""
    for entry in new.slots:
        held = _slot(old, entry.slot)
        if held is None:
            # A new place that runs what a place of its kind runs already brings no new code.
            known = [
                other.measurements for other in old.slots if other.measurements.keys() == entry.measurements.keys()
            ]
            if not any(_covers(measurements, entry.measurements) for measurements in known):
                return True
        elif not _covers(held.measurements, entry.measurements):
            return True
    narrow = both(old.appraisal_policy, new.appraisal_policy)
    return bool({"measurements", *_UNMEASURED} & set(differing(narrow, new.appraisal_policy)))


def restricted(old: Roster, new: Roster) -> Roster:
    """What both rosters allow, under version and digest of `old`: for whoever holds `new` before its activation."""
    roster = replace(
        old,
        slots=tuple(_both_slots(old, new)),
        operators=tuple(_both_operators(old, new)),
        quorum={name: max(old.quorum_for(name), new.quorum_for(name)) for name in QUORUM_ACTIONS},
        appraisal=both(old.appraisal_policy, new.appraisal_policy).to_json(),
        proof_of_cloud=_both_clouds(old.proof_of_cloud, new.proof_of_cloud),
        diversity=_both_diversity(old.diversity, new.diversity),
        simulated_roots=tuple(root for root in old.simulated_roots if root in new.simulated_roots),
        limits=_both_limits(old.limits, new.limits),
        oidc=tuple(_both_issuers(old, new)),
        approvers=tuple(_both_groups(old, new)),
        backup=old.backup if old.backup == new.backup else None,
        upgrade_delay_s=max(old.upgrade_delay, new.upgrade_delay),
    )
    object.__setattr__(roster, "digest", old.digest)
    return roster


def _changes(old: Roster, new: Roster) -> Iterator[Change]:
    yield from _slot_changes(old, new)
    yield from _operator_changes(old, new)
    for action in QUORUM_ACTIONS:
        yield from _number(f"quorum.{action}", old.quorum_for(action), new.quorum_for(action), rising=True)
    yield from _appraisal_changes(old, new)
    yield from _cloud_changes(old.proof_of_cloud, new.proof_of_cloud)
    yield from _diversity_changes(old.diversity, new.diversity)
    yield from _set(
        "simulated_roots", [root.hex() for root in old.simulated_roots], [root.hex() for root in new.simulated_roots]
    )
    for name in {**old.limits, **new.limits}:
        before, after = old.limits.get(name), new.limits.get(name)
        yield from _number(f"limits.{name}", _infinite(before), _infinite(after), rising=False)
    yield from _principal_changes(old, new)
    yield from _number("upgrade_delay_s", old.upgrade_delay, new.upgrade_delay, rising=True)
    terms: tuple[tuple[str, object, object], ...] = (
        ("witness", old.witness_terms, new.witness_terms),
        ("refresh", old.refresh, new.refresh),
        ("incarnation", old.incarnation, new.incarnation),
        ("backup", old.backup, new.backup),
    )
    for where, stated, now in terms:
        if stated != now:
            # Witness numbers and schedules have no narrower side; where bundles go is whoever can open them.
            effect = Effect.RESTRICTION if where == "backup" and now is None else Effect.RELAXATION
            yield Change(effect=effect, where=where, detail="removed" if now is None else "changed")


# --- slots ------------------------------------------------------------------------------------------------


def _slot(roster: Roster, name: str) -> SlotEntry | None:
    return next((entry for entry in roster.slots if entry.slot == name), None)


def _covers(wide: Mapping[str, frozenset[str]], narrow: Mapping[str, frozenset[str]]) -> bool:
    """Whether code that meets `narrow` always meets `wide`; a register that is not named may hold anything."""
    return all(name in narrow and narrow[name] <= allowed for name, allowed in wide.items())


def _same_place(one: SlotEntry, other: SlotEntry) -> bool:
    """Whether an entry means the same machine in the same hands; if not, the old one is removed and another added."""
    stated = set(one.failure_domain) & set(other.failure_domain)
    return (one.platform, one.operator) == (other.platform, other.operator) and all(
        one.failure_domain[name] == other.failure_domain[name] for name in stated
    )


def _both_slots(old: Roster, new: Roster) -> Iterator[SlotEntry]:
    for entry in old.slots:
        other = _slot(new, entry.slot)
        if other is None or not _same_place(entry, other):
            continue
        yield replace(
            entry,
            measurements=registers_of_both(entry.measurements, other.measurements),
            failure_domain={**other.failure_domain, **entry.failure_domain},
        )


def _slot_changes(old: Roster, new: Roster) -> Iterator[Change]:
    for entry in old.slots:
        other = _slot(new, entry.slot)
        where = f"slots.{entry.slot}"
        if other is None:
            yield _less(where, "removed")
            continue
        if not _same_place(entry, other):
            yield _less(where, f"the machine {_short(entry.platform.hex())} of {entry.operator} no longer counts")
            yield _more(where, f"the machine {_short(other.platform.hex())} of {other.operator} is admitted")
        if entry.url != other.url:
            yield _more(f"{where}.url", f"{entry.url} becomes {other.url}")
        for name in sorted(set(entry.measurements) | set(other.measurements)):
            before, after = entry.measurements.get(name), other.measurements.get(name)
            place = f"{where}.measurements.{name}"
            if before is None:
                yield _less(place, "from now on has to be as stated")
            elif after is None:
                yield _more(place, "may hold anything")
            else:
                yield from _set(place, before, after)
        for name in sorted(set(entry.failure_domain) ^ set(other.failure_domain)):
            gone = name in entry.failure_domain
            yield (_more if gone else _less)(
                f"{where}.failure_domain.{name}", f"{'no longer' if gone else 'now'} proven"
            )
    for entry in new.slots:
        if _slot(old, entry.slot) is None:
            yield _more(f"slots.{entry.slot}", f"added: {entry.url}, machine {_short(entry.platform.hex())}")


# --- operators --------------------------------------------------------------------------------------------


def _operators(roster: Roster) -> dict[tuple[str, bytes], OperatorEntry]:
    return {(entry.operator, entry.key): entry for entry in roster.operators}


def _both_operators(old: Roster, new: Roster) -> Iterator[OperatorEntry]:
    later = _operators(new)
    for name, entry in _operators(old).items():
        if name in later:
            yield replace(entry, roles=entry.roles & later[name].roles)


def _operator_changes(old: Roster, new: Roster) -> Iterator[Change]:
    before, after = _operators(old), _operators(new)
    for name, entry in before.items():
        where = f"operators.{entry.operator}"
        if name not in after:
            yield _less(where, f"{entry.name} removed (key {_short(entry.public.kid)})")
        else:
            yield from _set(f"{where}.roles", entry.roles, after[name].roles)
            if entry.name != after[name].name:
                yield _more(f"{where}.name", f"{entry.name} becomes {after[name].name}")
    for name, entry in after.items():
        if name not in before:
            roles = ", ".join(sorted(entry.roles))
            yield _more(
                f"operators.{entry.operator}", f"{entry.name} added as {roles} (key {_short(entry.public.kid)})"
            )


# --- machines and clouds ----------------------------------------------------------------------------------


_UNMEASURED = frozenset(
    {
        "allow_debug",
        "allow_zero_measurements",
        "allowed_service_tds",
        "allow_migratable",
        "allowed_roots",
        "allowed_tees",
    }
)
"""Rules of appraisal without which a measurement does not say what runs."""


def _appraisal_changes(old: Roster, new: Roster) -> Iterator[Change]:
    before, after = old.appraisal_policy, new.appraisal_policy
    narrow = both(before, after)
    for name in differing(before, narrow):
        yield _less(f"appraisal.{name}", "stricter")
    for name in differing(narrow, after):
        yield _more(f"appraisal.{name}", "looser")


def _both_clouds(old: ProofOfCloudTerms, new: ProofOfCloudTerms) -> ProofOfCloudTerms:
    return ProofOfCloudTerms(
        members={name: key for name, key in old.members.items() if key in new.members.values()},
        threshold=max(old.threshold, new.threshold),
        freshness_key=old.freshness_key,
        level=max(old.level, new.level),
        max_age_s=min(old.max_age_s, new.max_age_s),
    )


def _cloud_changes(old: ProofOfCloudTerms, new: ProofOfCloudTerms) -> Iterator[Change]:
    where = "proof_of_cloud"
    for name, key in old.members.items():
        if key not in new.members.values():
            yield _less(f"{where}.members.{name}", "removed")
    for name, key in new.members.items():
        if key not in old.members.values():
            yield _more(f"{where}.members.{name}", f"added (key {_short(key.hex())})")
    yield from _number(f"{where}.threshold", old.threshold, new.threshold, rising=True)
    yield from _number(f"{where}.level", old.level, new.level, rising=True)
    yield from _number(f"{where}.max_age_s", old.max_age_s, new.max_age_s, rising=False)
    if old.freshness_key != new.freshness_key:
        yield _more(f"{where}.freshness_key", "another key states how current the registry is")


def _both_diversity(old: DiversityTerms, new: DiversityTerms) -> DiversityTerms:
    return DiversityTerms(
        limits={
            name: min(_infinite(old.limits.get(name)), _infinite(new.limits.get(name)))
            for name in {**old.limits, **new.limits}
        },
        accept_common=old.accept_common & new.accept_common,
    )


def _diversity_changes(old: DiversityTerms, new: DiversityTerms) -> Iterator[Change]:
    for name in Dimension:
        before, after = _infinite(old.limits.get(name)), _infinite(new.limits.get(name))
        yield from _number(f"diversity.{name}", before, after, rising=False)
    yield from _set("accept_common", old.accept_common, new.accept_common)


def _both_limits(old: Mapping[str, int], new: Mapping[str, int]) -> dict[str, int]:
    return {name: min(_infinite(old.get(name)), _infinite(new.get(name))) for name in {**old, **new}}


# --- principals -------------------------------------------------------------------------------------------


def _both_issuers(old: Roster, new: Roster) -> Iterator[OidcIssuer]:
    for issuer in old.oidc:
        other = new.oidc_issuer(issuer.issuer)
        if other is None:
            continue
        audiences = tuple(name for name in issuer.audiences if name in other.audiences)
        keys = tuple(key for key in issuer.keys if key in other.keys)
        if audiences and keys:
            yield replace(issuer, audiences=audiences, keys=keys)


def _both_groups(old: Roster, new: Roster) -> Iterator[ApproverGroup]:
    for group in old.approvers:
        other = new.approver_group(group.group)
        if other is not None:
            yield replace(group, members=tuple(member for member in group.members if member in other.members))


def _principal_changes(old: Roster, new: Roster) -> Iterator[Change]:
    issuers = [issuer.issuer for issuer in (*old.oidc, *new.oidc)]
    for name in dict.fromkeys(issuers):
        one, other = old.oidc_issuer(name), new.oidc_issuer(name)
        yield from _set(f"oidc.{name}.audiences", one.audiences if one else (), other.audiences if other else ())
        yield from _set(
            f"oidc.{name}.keys",
            [_key_text(key) for key in one.keys] if one else [],
            [_key_text(key) for key in other.keys] if other else [],
        )
    for name in dict.fromkeys(group.group for group in (*old.approvers, *new.approvers)):
        group, later = old.approver_group(name), new.approver_group(name)
        yield from _set(
            f"approvers.{name}",
            [f"{member.approver} {member.key.algorithm} {member.key.kid}" for member in group.members] if group else [],
            [f"{member.approver} {member.key.algorithm} {member.key.kid}" for member in later.members] if later else [],
        )


def _key_text(key: Mapping[str, str]) -> str:
    """One text per key and use; the hash stands for all of it, as the members themselves are long."""
    return f"{key['alg']} {key['kid']} {hashlib.sha256(canonical_json(dict(key))).hexdigest()}"


# --- words ------------------------------------------------------------------------------------------------


NO_LIMIT = 1 << 53
"""Stands for a limit that is not stated, above every one that can be."""


def _infinite(value: int | None) -> int:
    return NO_LIMIT if value is None else value


def _number(where: str, before: int, after: int, *, rising: bool) -> Iterator[Change]:
    """A number that restricts by rising, or by falling."""
    if before != after:
        make: Callable[[str, str], Change] = _less if (after > before) is rising else _more
        yield make(where, f"{_amount(before)} becomes {_amount(after)}")


def _amount(value: int) -> str:
    return "no limit" if value >= NO_LIMIT else str(value)


def _set(where: str, before: Any, after: Any) -> Iterator[Change]:
    """A set of what is allowed."""
    for value in sorted(set(before) - set(after)):
        yield _less(where, f"{_short(str(value))} removed")
    for value in sorted(set(after) - set(before)):
        yield _more(where, f"{_short(str(value))} added")


def _less(where: str, detail: str) -> Change:
    return Change(effect=Effect.RESTRICTION, where=where, detail=detail)


def _more(where: str, detail: str) -> Change:
    return Change(effect=Effect.RELAXATION, where=where, detail=detail)


SHORT_CHARACTERS = 48


def _short(text: str) -> str:
    return text if len(text) <= SHORT_CHARACTERS else f"{text[:16]}...{text[-8:]}"
