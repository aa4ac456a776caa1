"""Does a new version of a policy give anything the old one did not?  Only what surely does not counts at once.

Rule kept (specs/control-documents.md section 5): the answer is yes unless every rule that allows stood in the old
version word for word, every rule that denies still stands, and no limit is looser or gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attestation.canonical import canonical_json
from enclave.policy.evaluate import Decision

if TYPE_CHECKING:
    from enclave.documents import PolicyDocument

_GUARDS = ("off", "fee-bump", "on")
"""Nonce guards from loosest to strictest; a document that does not say means the last."""


def widens(old: PolicyDocument | None, new: PolicyDocument) -> bool:
    """Whether `new` may allow what `old` did not; without an old version everything is new."""
    if old is None:
        return True
    before, after = _rules(old), _rules(new)
    return (
        not after["allow"] <= before["allow"]
        or not before["deny"] <= after["deny"]
        or not _texts(old.budgets) <= _texts(new.budgets)
        or (old.rate is not None and (new.rate is None or canonical_json(old.rate) != canonical_json(new.rate)))
        or _GUARDS.index(new.nonce_guard or "on") < _GUARDS.index(old.nonce_guard or "on")
    )


def stricter(one: Decision, other: Decision) -> Decision:
    """What both decisions allow: a refusal before approvals, approvals before a plain yes.

    Where both ask for approvals, both have to be satisfied: of one group the larger number and the shorter time; two
    groups cannot both be asked about one fingerprint, so nothing is allowed until one version is in force.
    """
    for decision in (one, other):
        if not decision.allowed and decision.approvals is None:
            return decision
    if one.approvals is None or other.approvals is None:
        return one if one.approvals is not None else other
    first, second = one.approvals, other.approvals
    if first.group != second.group:
        reason = f"two versions of the policy ask different people: group {first.group} and group {second.group}"
        return replace(one, approvals=None, reason=reason)
    terms = replace(
        first, minimum=max(first.minimum, second.minimum), lasts_s=min(first.lasts_s, second.lasts_s), above=None
    )
    stated = one if first.minimum >= second.minimum else other
    return replace(stated, approvals=terms)


def _rules(policy: PolicyDocument) -> dict[str, frozenset[bytes]]:
    return {
        effect: _texts([rule for rule in policy.rules if rule.get("effect") == effect]) for effect in ("allow", "deny")
    }


def _texts(values: Sequence[Mapping[str, Any]]) -> frozenset[bytes]:
    return frozenset(canonical_json(dict(value)) for value in values)
