"""The appraisal rules, one small function each, in the order of the specification's steps 8.x.

Rule: a rule returns why it refuses, None if it accepts, or raises `_DoesNotApplyError` where the
platform has no such property; it never looks at anything but claims, policy and time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from attestation.evidence import Claims, TcbStatus
from attestation.instant import format_instant, parse_instant
from attestation.verdict import Outcome, Step

if TYPE_CHECKING:
    from attestation.policy import AppraisalPolicy

T = TypeVar("T")

Judge = Callable[["AppraisalPolicy", Claims, int], str | None]

XFAM_ALWAYS = 0x3
"""x87 and SSE state: set in every TD (TDX module ABI, XFAM)."""

_ZERO_REFUSED = ("mrtd", "mrseam", "mrenclave", "mrsigner", "measurement", "pcr0", "pcr1", "pcr2")
"""Registers that no genuine launch leaves zero.  RTMRs are not among them: firmware without event log does."""

_OUT_OF_DATE = frozenset({TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED})


class _DoesNotApplyError(Exception):
    """The platform has no such property, or the policy does not ask: the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One numbered rule."""

    step: str
    name: str
    code: str
    check: Judge

    def judge(self, policy: AppraisalPolicy, claims: Claims, now: int) -> Step:
        """The step this rule contributes."""
        try:
            reason = self.check(policy, claims, now)
        except _DoesNotApplyError as skipped:
            why = str(skipped) or f"does not apply to {claims.tee.value}"
            return Step(step=self.step, name=self.name, result=Outcome.SKIPPED, reason=why)
        if reason is None:
            return Step(step=self.step, name=self.name, result=Outcome.PASS)
        return Step(step=self.step, name=self.name, result=Outcome.FAIL, reason=reason, code=self.code)


def _root(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    if claims.root in policy.allowed_roots:
        return None
    return f"root {claims.root!r} is not among {', '.join(sorted(policy.allowed_roots))}"


def _tee(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    return None if claims.tee in policy.allowed_tees else f"platform {claims.tee.value!r} is not allowed"


def _tcb_status(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    status = _applies(claims.tcb_status)
    if status in policy.accepted_tcb:
        return None
    # Out-of-date platforms have a rule of their own when a grace window is open.
    if status in _OUT_OF_DATE and policy.out_of_date_grace_s > 0:
        return None
    return f"status {status.value} is not among {', '.join(sorted(policy.accepted_tcb))}"


def _grace(policy: AppraisalPolicy, claims: Claims, now: int) -> str | None:
    status = _applies(claims.tcb_status)
    if policy.out_of_date_grace_s == 0:
        raise _DoesNotApplyError("the policy opens no grace window")
    if status not in _OUT_OF_DATE or status in policy.accepted_tcb:
        raise _DoesNotApplyError("the platform needs no grace")
    if (
        status is TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED
        and TcbStatus.CONFIGURATION_NEEDED not in policy.accepted_tcb
    ):
        return f"status {status.value} needs ConfigurationNeeded to be accepted as well"
    since = parse_instant(claims.details.get("next_tcb_date"))
    if since is None:
        return "nothing says since when the platform is out of date"
    until = since + policy.out_of_date_grace_s
    return None if now <= until else f"out of date since {format_instant(since)}, grace ended {format_instant(until)}"


def _advisory(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    if policy.advisories_allowed is None:
        raise _DoesNotApplyError("the policy lists no advisories")
    open_ones = sorted(set(claims.advisories) - policy.advisories_allowed)
    return f"open advisories {', '.join(open_ones)}" if open_ones else None


def _tcb_evaluation(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    number = _applies(claims.tcb_evaluation)
    other = claims.details.get("qe_tcb_evaluation", number)
    if min(number, other) < policy.min_tcb_evaluation:
        return f"expected evaluation number {policy.min_tcb_evaluation} or later, found {min(number, other)}"
    if abs(number - other) > policy.tcb_evaluation_gap_max:
        return f"TCB info has evaluation number {number}, enclave identity {other}"
    return None


def _measurement(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    if not policy.measurements:
        raise _DoesNotApplyError("the policy names no measurements")
    for register, allowed in policy.measurements.items():
        found = claims.measurements.get(register)
        if found not in allowed:
            return f"{register} is {found or 'absent'}, not an expected value"
    return None


def _zero_measurements(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    if policy.allow_zero_measurements:
        return None
    for register in _ZERO_REFUSED:
        value = claims.measurements.get(register)
        if value is not None and not value.strip("0"):
            return f"{register} is all zero"
    return None


def _service_td(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    if not _flag(claims, "service_td") or claims.measurements.get("mrservicetd") in policy.allowed_service_tds:
        return None
    return f"bound to the service TD {claims.measurements.get('mrservicetd')}"


def _reserved(_: AppraisalPolicy, claims: Claims, __: int) -> str | None:
    return "attribute bits that must be zero are set" if _flag(claims, "reserved_attributes") else None


def _xfam(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    text = _applies(claims.details.get("xfam"))
    bits = int.from_bytes(bytes.fromhex(text), "little")
    if bits & XFAM_ALWAYS != XFAM_ALWAYS:
        return f"extended features {bits:#x} lack x87 and SSE, which no TD can"
    unknown = bits & ~policy.xfam_allowed
    return f"extended features {unknown:#x} are not allowed" if unknown else None


def _enclave_mode(_: AppraisalPolicy, claims: Claims, __: int) -> str | None:
    if not _flag(claims, "init"):
        return "enclave is not initialised"
    return None if _flag(claims, "mode64") else "enclave does not run in 64-bit mode"


def _vmpl(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    level = _applies(claims.details.get("vmpl"))
    return None if level <= policy.max_vmpl else f"expected VMPL {policy.max_vmpl} or lower, found {level}"


def _snp_floor(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
    floor = policy.snp_tcb_floor.get(claims.details.get("product", ""))
    levels = _applies(claims.details.get("tcb"))
    if floor is None:
        if policy.snp_tcb_floor:
            return f"no TCB floor is set for product {claims.details.get('product')!r}"
        raise _DoesNotApplyError("the policy sets no floor")
    for which in ("reported", "launch"):
        for component, lowest in floor.items():
            found = levels[which].get(component, -1)
            if found < lowest:
                return f"{which} {component} is {found}, below {lowest}"
    return None


def _age(policy: AppraisalPolicy, claims: Claims, now: int) -> str | None:
    milliseconds = _applies(claims.details.get("timestamp_ms"))
    distance = abs(now - milliseconds // 1000)
    return None if distance <= policy.max_age_s else f"evidence is {distance} s away, more than {policy.max_age_s} s"


def _must_be_clear(flag: str, allowed: str, reason: str) -> Judge:
    def check(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
        return reason if _flag(claims, flag) and not getattr(policy, allowed) else None

    return check


def _must_be_set(flag: str, required: str, reason: str) -> Judge:
    def check(policy: AppraisalPolicy, claims: Claims, _: int) -> str | None:
        return reason if not _flag(claims, flag) and getattr(policy, required) else None

    return check


def _flag(claims: Claims, name: str) -> bool:
    return _applies(claims.flags.get(name))


def _applies(value: T | None) -> T:
    if value is None:
        raise _DoesNotApplyError
    return value


def _rules(*rows: tuple[str, str, Judge]) -> tuple[Rule, ...]:
    return tuple(
        Rule(step=f"8.{number}", name=name, code=code, check=check)
        for number, (code, name, check) in enumerate(rows, start=1)
    )


RULES = _rules(
    ("policy.root", "trust anchor is allowed", _root),
    ("policy.tee", "platform kind is allowed", _tee),
    (
        "policy.debug",
        "debugging is off",
        _must_be_clear("debug", "allow_debug", "the host may read its memory: debug is on"),
    ),
    ("policy.tcb-status", "TCB status is accepted", _tcb_status),
    ("policy.grace", "out-of-date platform is within its grace window", _grace),
    ("policy.advisory", "open advisories are allowed", _advisory),
    ("policy.tcb-evaluation", "collateral is recent enough and consistent", _tcb_evaluation),
    ("policy.measurement", "measurements are expected ones", _measurement),
    ("policy.zero-measurements", "measurements are not blank", _zero_measurements),
    ("policy.reserved-attributes", "reserved attribute bits are zero", _reserved),
    ("policy.xfam", "extended features are possible and allowed", _xfam),
    (
        "policy.sept-ve-disable",
        "the host cannot inject page faults",
        _must_be_set(
            "sept_ve_disable", "require_sept_ve_disable", "SEPT_VE_DISABLE is off: the host can inject page faults"
        ),
    ),
    (
        "policy.profiling",
        "profiling is off",
        _must_be_clear("profiling", "allow_profiling", "profiling attributes are on"),
    ),
    (
        "policy.migratable",
        "migration is off",
        _must_be_clear("migratable", "allow_migratable", "it may be migrated by an agent"),
    ),
    ("policy.service-td", "no unknown service TD is bound", _service_td),
    ("policy.perfmon", "performance monitoring is off", _must_be_clear("perfmon", "allow_perfmon", "PERFMON is on")),
    ("policy.key-locker", "Key Locker is off", _must_be_clear("key_locker", "allow_key_locker", "Key Locker is on")),
    ("policy.enclave-mode", "enclave is initialised and 64-bit", _enclave_mode),
    (
        "policy.provision-key",
        "enclave has no access to the provisioning key",
        _must_be_clear("provision_key", "allow_provision_key", "PROVISION_KEY is on"),
    ),
    ("policy.vmpl", "report comes from a privileged enough level", _vmpl),
    (
        "policy.alias-check",
        "memory was checked for aliases",
        _must_be_set("alias_check", "require_alias_check", "firmware has not checked memory for aliases"),
    ),
    (
        "policy.ciphertext-hiding",
        "ciphertext is hidden from the host",
        _must_be_set("ciphertext_hiding", "require_ciphertext_hiding", "ciphertext hiding is off"),
    ),
    ("policy.smt", "sibling threads are allowed", _must_be_clear("smt", "allow_smt", "sibling threads are on")),
    ("policy.snp-tcb-floor", "firmware levels reach the floor", _snp_floor),
    ("policy.age", "evidence is recent by its own time", _age),
)
"""Every rule; the numbers are part of the interface."""
