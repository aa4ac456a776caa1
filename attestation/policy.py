"""Which machines are good enough: rules over verified claims, each a numbered step with its own code.

Rules: pure (no cryptography, no I/O); the default refuses whatever weakens isolation and says
which rule refused; revoked and unsupported platforms cannot be accepted by any setting; an
empty combination is an error.  Steps 8.x of specs/attestation-verification.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from attestation.errors import PolicyError
from attestation.evidence import Claims, TcbStatus, Tee
from attestation.policy_rules import RULES
from attestation.verdict import Outcome, Step

XFAM_ALLOWED = 0x6DBE7
"""Extended features a TD may have: x87, SSE, AVX, PT, PKRU, CET, UINTR, LBR, AMX (TDX module ABI, XFAM)."""

TCB_EVALUATION_FLOOR = 12
"""Lowest evaluation number in any collateral published since TDX platforms shipped (September 2022)."""

TCB_EVALUATION_GAP_MAX = 1
"""Intel publishes the two halves of one recovery days apart: 20 and 19 were current together in August 2026."""

NITRO_AGE_MAX_S = 300
"""Longest age of a document that carries its own time: one request and its retries."""

NEVER_ACCEPTED = frozenset({TcbStatus.REVOKED, TcbStatus.NOT_SUPPORTED})


class Appraisal(Protocol):
    """Anything that judges claims: a policy or a combination of policies."""

    def appraise(self, claims: Claims, now: int) -> tuple[Step, ...]:
        """The steps; the claims are acceptable if none failed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AppraisalPolicy:
    """One complete policy; every field's default is the production choice."""

    accepted_tcb: frozenset[TcbStatus] = frozenset({TcbStatus.UP_TO_DATE, TcbStatus.SW_HARDENING_NEEDED})
    out_of_date_grace_s: int = 0
    """Seconds an out-of-date platform stays acceptable, counted from the date of the level that superseded its own."""
    advisories_allowed: frozenset[str] | None = None
    """If given, a platform with any other open advisory is refused."""
    min_tcb_evaluation: int = TCB_EVALUATION_FLOOR
    tcb_evaluation_gap_max: int = TCB_EVALUATION_GAP_MAX
    """How far the evaluation numbers of TCB info and enclave identity may differ."""
    allowed_tees: frozenset[Tee] = frozenset(Tee)
    allowed_roots: frozenset[str] = frozenset({"intel", "amd", "aws"})
    measurements: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Register name to allowed values (lower-case hex); a register not named may hold anything."""
    allowed_service_tds: frozenset[str] = frozenset()
    """Allowed mrservicetd values (hex) of TDs bound to a service TD."""
    allow_debug: bool = False
    allow_profiling: bool = False
    allow_migratable: bool = False
    allow_perfmon: bool = False
    allow_key_locker: bool = False
    allow_provision_key: bool = False
    allow_zero_measurements: bool = False
    require_sept_ve_disable: bool = True
    require_alias_check: bool = False
    """SEV-SNP: firmware has checked memory for address aliases (AMD-SB-3015)."""
    require_ciphertext_hiding: bool = False
    """SEV-SNP: host reads of guest memory see no ciphertext."""
    allow_smt: bool = True
    """SEV-SNP and PCK platforms: sibling threads enabled."""
    max_vmpl: int = 1
    """SEV-SNP: highest privilege level number accepted (0 is most privileged, 1 runs under a service module)."""
    snp_tcb_floor: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Product to component to lowest level, held against the reported and the launch TCB."""
    xfam_allowed: int = XFAM_ALLOWED
    max_age_s: int = NITRO_AGE_MAX_S
    """Longest distance between `now` and the time inside evidence that carries one."""

    def __post_init__(self) -> None:
        if self.accepted_tcb & NEVER_ACCEPTED:
            raise PolicyError("revoked and unsupported platforms cannot be accepted")
        if not self.accepted_tcb or not self.allowed_roots or not self.allowed_tees:
            raise PolicyError("expected at least one accepted TCB status, root and platform")

    @classmethod
    def production(cls) -> AppraisalPolicy:
        """Vendor roots only, current platforms only, nothing that weakens isolation."""
        return cls()

    @classmethod
    def development(cls) -> AppraisalPolicy:
        """Production, but the simulated authority's root counts too."""
        return replace(cls(), allowed_roots=frozenset({"intel", "amd", "aws", "simulated"}))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AppraisalPolicy:
        """From a policy file's object (specs/attestation-verification.md, section "Policy file").

        Raises PolicyError (`policy.malformed`) on any unknown or ill-typed member.
        """
        from attestation.policy_file import read_policy

        return read_policy(value)

    def to_json(self) -> dict[str, Any]:
        """The policy file that reads back to this policy."""
        from attestation.policy_file import write_policy

        return write_policy(self)

    def appraise(self, claims: Claims, now: int) -> tuple[Step, ...]:
        """One step per rule, in order; a rule that does not apply to this platform is skipped."""
        return tuple(rule.judge(self, claims, now) for rule in RULES)


@dataclass(frozen=True, slots=True)
class AllOf:
    """Acceptable to every member."""

    members: Sequence[Appraisal]

    def __post_init__(self) -> None:
        if not self.members:
            raise PolicyError("a combination of no policies would accept anything")

    def appraise(self, claims: Claims, now: int) -> tuple[Step, ...]:
        """The steps of every member."""
        return tuple(step for member in self.members for step in member.appraise(claims, now))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Acceptable to at least one member, e.g. one policy per platform."""

    members: Sequence[Appraisal]

    def __post_init__(self) -> None:
        if not self.members:
            raise PolicyError("a choice between no policies accepts nothing")

    def appraise(self, claims: Claims, now: int) -> tuple[Step, ...]:
        """The steps of the first member that accepts, else of the member that refuses for the fewest reasons."""
        judged = [member.appraise(claims, now) for member in self.members]
        return min(judged, key=lambda steps: sum(step.result is Outcome.FAIL for step in steps))


def appraise(claims: Claims, policy: Appraisal, now: int) -> tuple[Step, ...]:
    """Judge claims by a policy."""
    return policy.appraise(claims, now)
