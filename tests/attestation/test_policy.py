"""The appraisal policy: its file format, its combinations, and the rules no Intel quote exercises."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from attestation.canonical import canonical_json, parse_json
from attestation.errors import PolicyError
from attestation.evidence import Claims, TcbStatus, Tee
from attestation.instant import parse_instant
from attestation.policy import AllOf, AnyOf, AppraisalPolicy, appraise
from attestation.policy_rules import RULES
from attestation.verdict import Outcome, Step

NOW = 1_794_700_800
DAY = 86_400

TDX = Claims(
    tee=Tee.TDX,
    root="intel",
    evidence_id="00" * 32,
    report_data=bytes(64),
    measurements={"mrtd": "ab" * 48, "mrseam": "cd" * 48},
    tcb_status=TcbStatus.UP_TO_DATE,
    tcb_evaluation=20,
    tcb_date=datetime(2026, 5, 13, tzinfo=UTC),
    flags={"debug": False, "sept_ve_disable": True},
    valid_until=NOW + DAY,
    details={"xfam": "e702060000000000", "qe_tcb_evaluation": 20},
)
SNP = Claims(
    tee=Tee.SEV_SNP,
    root="amd",
    evidence_id="00" * 32,
    report_data=bytes(64),
    measurements={"measurement": "ab" * 48},
    flags={"debug": False, "migratable": False, "smt": True, "alias_check": False, "ciphertext_hiding": False},
    valid_until=NOW + DAY,
    details={
        "vmpl": 0,
        "product": "Milan",
        "tcb": {"reported": {"snp": 23, "microcode": 213}, "launch": {"snp": 22, "microcode": 213}},
    },
)
NITRO = Claims(
    tee=Tee.NITRO,
    root="aws",
    evidence_id="00" * 32,
    report_data=b"",
    measurements={"pcr0": "ab" * 48, "pcr1": "ab" * 48, "pcr2": "ab" * 48},
    flags={"debug": False},
    valid_until=NOW + DAY,
    details={"timestamp_ms": NOW * 1000},
)


def refused(claims: Claims, policy: AppraisalPolicy | AllOf | AnyOf, now: int = NOW) -> list[str | None]:
    """Codes of the failed steps."""
    return [step.code for step in appraise(claims, policy, now) if step.result is Outcome.FAIL]


@pytest.mark.parametrize("claims", [TDX, SNP, NITRO], ids=["tdx", "snp", "nitro"])
def test_ordinary_machines_pass(claims: Claims) -> None:
    """Production accepts a current machine of each vendor, with one step for every rule."""
    steps = AppraisalPolicy.production().appraise(claims, NOW)
    assert [step.code for step in steps if step.result is Outcome.FAIL] == []
    assert [step.step for step in steps] == [rule.step for rule in RULES]


def test_skipped_is_not_passed() -> None:
    """Rules about other platforms are skipped with a reason."""
    steps = {step.step: step for step in AppraisalPolicy.production().appraise(NITRO, NOW)}
    skipped = [step for step in steps.values() if step.result is Outcome.SKIPPED]
    assert len(skipped) > 10
    assert all(step.reason for step in skipped)


@pytest.mark.parametrize("root", ["simulated", "custom"])
def test_production_refuses_other_roots(root: str) -> None:
    """Only vendors' roots count in production; development adds the simulated one alone."""
    claims = replace(TDX, root=root)
    assert refused(claims, AppraisalPolicy.production()) == ["policy.root"]
    assert refused(claims, AppraisalPolicy.development()) == ([] if root == "simulated" else ["policy.root"])


def test_platform_kind() -> None:
    """A policy for one platform refuses the others."""
    policy = AppraisalPolicy(allowed_tees=frozenset({Tee.SGX}))
    assert refused(TDX, policy) == ["policy.tee"]


def test_measurements() -> None:
    """Every named register must hold an allowed value; an absent register is not allowed."""
    policy = AppraisalPolicy(measurements={"mrtd": frozenset({"ab" * 48, "00" * 48})})
    assert refused(TDX, policy) == []
    assert refused(replace(TDX, measurements={"mrtd": "ac" * 48}), policy) == ["policy.measurement"]
    assert refused(SNP, policy) == ["policy.measurement"]


OUT = replace(
    TDX,
    tcb_status=TcbStatus.OUT_OF_DATE,
    advisories=("INTEL-SA-1", "INTEL-SA-2"),
    details={**TDX.details, "next_tcb_date": "2026-11-01T00:00:00Z"},
)


def test_grace_counts_from_the_superseding_level() -> None:
    """An out-of-date machine is accepted to the last second of its window, never without a date."""
    since = parse_instant("2026-11-01T00:00:00Z")
    assert since is not None
    policy = AppraisalPolicy(out_of_date_grace_s=30 * DAY)
    assert refused(OUT, AppraisalPolicy()) == ["policy.tcb-status"]
    assert refused(OUT, policy, since + 30 * DAY) == []
    assert refused(OUT, policy, since + 30 * DAY + 1) == ["policy.grace"]
    assert refused(replace(OUT, details=TDX.details), policy) == ["policy.grace"]


def test_grace_does_not_stretch_to_configuration() -> None:
    """Configuration needs its own acceptance, and grace covers nothing but out-of-date."""
    policy = AppraisalPolicy(out_of_date_grace_s=30 * DAY)
    both = replace(OUT, tcb_status=TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED)
    assert refused(both, policy) == ["policy.grace"]
    wider = replace(policy, accepted_tcb=policy.accepted_tcb | {TcbStatus.CONFIGURATION_NEEDED})
    assert refused(both, wider) == []
    for status in (TcbStatus.CONFIGURATION_NEEDED, TcbStatus.TD_RELAUNCH_ADVISED, TcbStatus.REVOKED):
        assert refused(replace(OUT, tcb_status=status), policy) == ["policy.tcb-status"]


def test_advisories() -> None:
    """An allow-list of advisories refuses any other open one."""
    policy = AppraisalPolicy(accepted_tcb=frozenset({TcbStatus.OUT_OF_DATE}))
    assert refused(OUT, policy) == []
    assert refused(OUT, replace(policy, advisories_allowed=frozenset({"INTEL-SA-1"}))) == ["policy.advisory"]
    assert refused(OUT, replace(policy, advisories_allowed=frozenset({"INTEL-SA-1", "INTEL-SA-2"}))) == []


@pytest.mark.parametrize("status", [TcbStatus.REVOKED, TcbStatus.NOT_SUPPORTED])
def test_some_statuses_cannot_be_accepted(status: TcbStatus) -> None:
    """No policy accepts a revoked or unsupported platform."""
    with pytest.raises(PolicyError):
        AppraisalPolicy(accepted_tcb=frozenset({TcbStatus.UP_TO_DATE, status}))


def changed(claims: Claims, **flags: bool) -> Claims:
    """Claims with other flags."""
    return replace(claims, flags={**claims.flags, **flags})


@pytest.mark.parametrize(
    ("claims", "policy", "code"),
    [
        (changed(SNP, debug=True), {}, "policy.debug"),
        (changed(SNP, migratable=True), {}, "policy.migratable"),
        (SNP, {"require_alias_check": True}, "policy.alias-check"),
        (SNP, {"require_ciphertext_hiding": True}, "policy.ciphertext-hiding"),
        (SNP, {"allow_smt": False}, "policy.smt"),
        (replace(SNP, details={**SNP.details, "vmpl": 2}), {}, "policy.vmpl"),
        (SNP, {"snp_tcb_floor": {"Milan": {"snp": 23}}}, "policy.snp-tcb-floor"),
        (SNP, {"snp_tcb_floor": {"Milan": {"fmc": 0}}}, "policy.snp-tcb-floor"),
        (SNP, {"snp_tcb_floor": {"Genoa": {"snp": 1}}}, "policy.snp-tcb-floor"),
        (replace(SNP, measurements={"measurement": "00" * 48}), {}, "policy.zero-measurements"),
        (changed(NITRO, debug=True), {}, "policy.debug"),
        (replace(NITRO, details={"timestamp_ms": (NOW - 301) * 1000}), {}, "policy.age"),
        (replace(NITRO, details={"timestamp_ms": (NOW + 301) * 1000}), {}, "policy.age"),
    ],
)
def test_rules_of_other_platforms(claims: Claims, policy: dict[str, Any], code: str) -> None:
    """Each property refuses with its own code and no other."""
    assert refused(claims, AppraisalPolicy(**policy)) == [code]


def test_snp_floor_met() -> None:
    """Reported and launch levels at the floor pass."""
    assert refused(SNP, AppraisalPolicy(snp_tcb_floor={"Milan": {"snp": 22, "microcode": 213}})) == []


def test_file_round_trip() -> None:
    """A policy written to a file reads back equal, also through canonical JSON."""
    policy = AppraisalPolicy(
        accepted_tcb=frozenset({TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE}),
        out_of_date_grace_s=7 * DAY,
        advisories_allowed=frozenset({"INTEL-SA-1"}),
        min_tcb_evaluation=19,
        allowed_tees=frozenset({Tee.TDX}),
        allowed_roots=frozenset({"intel", "simulated"}),
        measurements={"mrtd": frozenset({"ab" * 48})},
        allowed_service_tds=frozenset({"cd" * 48}),
        allow_perfmon=True,
        require_alias_check=True,
        max_vmpl=0,
        snp_tcb_floor={"Milan": {"snp": 23}},
        xfam_allowed=0x2E7,
        max_age_s=60,
    )
    assert AppraisalPolicy.from_json(parse_json(canonical_json(policy.to_json()))) == policy
    assert AppraisalPolicy.from_json({}) == AppraisalPolicy.production()
    assert set(AppraisalPolicy().to_json()) == set(policy.to_json())


@pytest.mark.parametrize(
    "value",
    [
        {"unknown": 1},
        {"allow_debug": "yes"},
        {"allow_debug": 1},
        {"accepted_tcb": "UpToDate"},
        {"accepted_tcb": ["Fine"]},
        {"accepted_tcb": []},
        {"accepted_tcb": ["Revoked"]},
        {"accepted_tcb": [1]},
        {"allowed_roots": ["mine"]},
        {"allowed_roots": []},
        {"allowed_tees": ["trustzone"]},
        {"measurements": []},
        {"measurements": {"mrtd": "ab"}},
        {"measurements": {"mrtd": ["xy"]}},
        {"measurements": {"mrtd": [""]}},
        {"out_of_date_grace_s": -1},
        {"out_of_date_grace_s": True},
        {"max_vmpl": 4},
        {"xfam_allowed": 7},
        {"snp_tcb_floor": {"Milan": {"snp": 300}}},
        {"snp_tcb_floor": {"Milan": 1}},
        {"allowed_service_tds": None},
    ],
    ids=json.dumps,
)
def test_file_mistakes(value: dict[str, Any]) -> None:
    """Unknown or ill-typed members refuse the file: no misspelt restriction passes for none."""
    with pytest.raises(PolicyError):
        AppraisalPolicy.from_json(value)


def test_hex_is_normalised() -> None:
    """Upper-case hex in a file means the same measurement."""
    policy = AppraisalPolicy.from_json({"measurements": {"mrtd": ["AB" * 48]}})
    assert refused(TDX, policy) == []


def test_combinations() -> None:
    """AllOf needs every member, AnyOf one; both refuse to be empty."""
    tdx_only = AppraisalPolicy(allowed_tees=frozenset({Tee.TDX}))
    snp_only = AppraisalPolicy(allowed_tees=frozenset({Tee.SEV_SNP}), allow_smt=False)
    assert refused(TDX, AnyOf([tdx_only, snp_only])) == []
    assert refused(SNP, AnyOf([tdx_only, snp_only])) == ["policy.tee"]
    assert refused(TDX, AllOf([tdx_only, snp_only])) == ["policy.tee"]
    for empty in (AllOf, AnyOf):
        with pytest.raises(PolicyError):
            empty([])


def test_codes_and_numbers_are_distinct() -> None:
    """Every rule has its own number and code."""
    assert len({rule.code for rule in RULES}) == len({rule.step for rule in RULES}) == len(RULES)
    assert all(isinstance(rule.judge(AppraisalPolicy(), TDX, NOW), Step) for rule in RULES)
