"""The policy file: one JSON object, every member optional, nothing unknown.

Rule: a member that is not known or not of its type refuses the whole file; a misspelt
restriction must never pass for no restriction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from attestation.errors import PolicyError
from attestation.evidence import TcbStatus, Tee
from attestation.policy import AppraisalPolicy

ENTRIES_MAX = 4096
"""Values of one list: more releases and advisories than a cluster ever allows at once."""

_ROOTS = frozenset({"intel", "amd", "aws", "simulated", "custom"})
_INTEGERS = {
    "out_of_date_grace_s": 10 * 366 * 86400,
    "min_tcb_evaluation": 1 << 32,
    "tcb_evaluation_gap_max": 1 << 32,
    "max_vmpl": 3,
    "max_age_s": 10 * 366 * 86400,
}
_BOOLEANS = frozenset(f.name for f in fields(AppraisalPolicy) if f.name.startswith(("allow_", "require_")))
_KNOWN = frozenset(f.name for f in fields(AppraisalPolicy))


def read_policy(value: Mapping[str, Any]) -> AppraisalPolicy:
    """The policy a JSON object describes; members left out have the production default.  Raises PolicyError."""
    if not isinstance(value, Mapping):
        raise _refused("expected a JSON object")
    unknown = set(value) - _KNOWN
    if unknown:
        raise _refused(f"unknown member {min(unknown)[:40]!r}")
    return AppraisalPolicy(**{name: _read(name, member) for name, member in value.items()})


def write_policy(policy: AppraisalPolicy) -> dict[str, Any]:
    """All members of a policy as JSON values, sets as sorted lists."""
    value = {f.name: _plain(getattr(policy, f.name)) for f in fields(policy)}
    return value | {"xfam_allowed": f"{policy.xfam_allowed:x}"}


def _read(name: str, member: Any) -> Any:
    if name in _BOOLEANS:
        if not isinstance(member, bool):
            raise _refused(f"expected {name} to be true or false")
        return member
    if name in _INTEGERS:
        return _integer(name, member, _INTEGERS[name])
    if name == "accepted_tcb":
        return frozenset(_member_of(TcbStatus, text, name) for text in _texts(name, member))
    if name == "allowed_tees":
        return frozenset(_member_of(Tee, text, name) for text in _texts(name, member))
    if name == "allowed_roots":
        roots = _texts(name, member)
        if roots - _ROOTS:
            raise _refused(f"expected {name} among {', '.join(sorted(_ROOTS))}")
        return roots
    if name == "advisories_allowed":
        return None if member is None else _texts(name, member)
    if name == "allowed_service_tds":
        return frozenset(_hex(name, text) for text in _texts(name, member))
    if name == "measurements":
        return {
            register: frozenset(_hex(register, text) for text in _texts(register, allowed))
            for register, allowed in _object(name, member).items()
        }
    if name == "snp_tcb_floor":
        return {
            product: {part: _integer(part, level, 255) for part, level in _object(name, levels).items()}
            for product, levels in _object(name, member).items()
        }
    return int(_hex(name, member), 16)  # xfam_allowed


def _texts(name: str, member: Any) -> frozenset[str]:
    if not isinstance(member, list | tuple) or len(member) > ENTRIES_MAX or not all(isinstance(t, str) for t in member):
        raise _refused(f"expected {name} to be a list of at most {ENTRIES_MAX} texts")
    return frozenset(member)


def _object(name: str, member: Any) -> Mapping[str, Any]:
    if not isinstance(member, Mapping) or len(member) > ENTRIES_MAX:
        raise _refused(f"expected {name} to be an object")
    return member


def _integer(name: str, member: Any, maximum: int) -> int:
    if isinstance(member, bool) or not isinstance(member, int) or not 0 <= member <= maximum:
        raise _refused(f"expected {name} to be an integer from 0 to {maximum}")
    return member


def _hex(name: str, text: Any) -> str:
    if not isinstance(text, str) or not text or len(text) > 256 or set(text) - set("0123456789abcdefABCDEF"):
        raise _refused(f"expected {name} in hex")
    return text.lower()


def _member_of(kind: Any, text: str, name: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise _refused(f"unknown value {text[:40]!r} in {name}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    return value


def _refused(detail: str) -> PolicyError:
    return PolicyError(detail, code="policy.malformed")
