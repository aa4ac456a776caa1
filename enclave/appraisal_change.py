"""What two appraisal policies both accept: each rule at its stricter setting.

Rules kept: a machine acceptable to the result is acceptable to both; every field of a policy has a rule here, and a
field that has none is an error, not a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from attestation.errors import PolicyError
from attestation.policy import AppraisalPolicy

NOTHING = AppraisalPolicy(measurements={name: frozenset() for name in ("mrtd", "mrenclave", "measurement", "pcr0")})
"""Accepts no machine: what two policies share that have no root, platform or status in common."""

Rule = Callable[[Any, Any], Any]


def both(one: AppraisalPolicy, other: AppraisalPolicy) -> AppraisalPolicy:
    """The policy that accepts what both accept."""
    values = {field.name: _rule(field.name)(getattr(one, field.name), getattr(other, field.name)) for field in _FIELDS}
    try:
        return AppraisalPolicy(**values)
    except PolicyError:
        return NOTHING


def differing(one: AppraisalPolicy, other: AppraisalPolicy) -> list[str]:
    """Names of the rules that are set differently."""
    return [field.name for field in _FIELDS if getattr(one, field.name) != getattr(other, field.name)]


def _all(one: Any, other: Any) -> Any:
    return one and other


def _any(one: Any, other: Any) -> Any:
    return one or other


def _shared(one: Any, other: Any) -> Any:
    return one & other


def _advisories(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """None allows any."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def registers_of_both(
    one: Mapping[str, frozenset[str]], other: Mapping[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    """Register -> values that both allow; a register that one does not name may hold anything for that one."""
    return {**other, **{name: allowed & other.get(name, allowed) for name, allowed in one.items()}}


def _floors(one: Mapping[str, Mapping[str, int]], other: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {
        product: {
            part: max(one.get(product, {}).get(part, 0), other.get(product, {}).get(part, 0))
            for part in {**one.get(product, {}), **other.get(product, {})}
        }
        for product in {**one, **other}
    }


_FIELDS = fields(AppraisalPolicy)
_RULES: Mapping[str, Rule] = {
    "accepted_tcb": _shared,
    "out_of_date_grace_s": min,
    "advisories_allowed": _advisories,
    "min_tcb_evaluation": max,
    "tcb_evaluation_gap_max": min,
    "allowed_tees": _shared,
    "allowed_roots": _shared,
    "measurements": registers_of_both,
    "allowed_service_tds": _shared,
    "allow_smt": _all,
    "max_vmpl": min,
    "snp_tcb_floor": _floors,
    "xfam_allowed": _shared,
    "max_age_s": min,
}


def _rule(name: str) -> Rule:
    if name.startswith("allow_"):
        return _all
    if name.startswith("require_"):
        return _any
    return _RULES[name]
