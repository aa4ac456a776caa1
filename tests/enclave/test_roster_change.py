"""What a new roster takes away and what it gives, term by term, and what both allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from attestation.policy import AppraisalPolicy
from enclave.appraisal_change import NOTHING, both
from enclave.diversity import Dimension, DiversityTerms
from enclave.roster import OperatorEntry, Role, Roster
from enclave.roster_change import Effect, admits_code, changes, is_restriction, restricted
from enclave.roster_principals import Approver, ApproverGroup, OidcIssuer
from enclave.roster_terms import BackupSlot, BackupTerms, CustodianSet, RefreshTerms, WitnessTerms
from tests.enclave.samples import ADMIN_2, NOW, a_roster, a_slot, an_id, seeded_key

EDDSA = {"kid": "k1", "alg": "EdDSA", "kty": "OKP", "crv": "Ed25519", "x": "-" * 43}
ISSUER = OidcIssuer(
    issuer="https://id.example.org", audiences=("holdfast", "other"), keys=(EDDSA, {**EDDSA, "kid": "k2"})
)
CLOUD = a_roster().proof_of_cloud
CLOUD = replace(CLOUD, members={**CLOUD.members, "member-3": bytes(range(3, 35))})
GROUP = ApproverGroup(
    group="treasurers",
    members=tuple(Approver(approver=f"person-{n}", key=seeded_key(f"person {n}").public) for n in range(3)),
)
BACKUP = BackupTerms(
    slots={"node-1": BackupSlot(key=bytes(32), custodians="set-1")},
    custodians=(CustodianSet(set="set-1", threshold=2, members=("a", "b", "c")),),
)
BASE = a_roster(
    oidc=(ISSUER,),
    approvers=(GROUP,),
    backup=BACKUP,
    proof_of_cloud=CLOUD,
    limits={"keys": 100},
    quorum={"roster": 1, "policy": 2},
    witness=WitnessTerms(q=3, f=1, a=2),
    refresh=RefreshTerms(interval_s=86400, spread_s=3600),
    simulated_roots=(b"root-1", b"root-2"),
    diversity=DiversityTerms(limits={Dimension.REGION: 3}, accept_common=frozenset({Dimension.PROVIDER})),
)


def slots(number: int, **changed: Any) -> dict[str, Any]:
    """One slot of the base roster changed."""
    return {
        "slots": tuple(replace(entry, **changed) if entry.slot == f"node-{number}" else entry for entry in BASE.slots)
    }


def operators(**changed: Any) -> dict[str, Any]:
    """The second administrator changed."""
    return {"operators": tuple(replace(e, **changed) if e.operator == ADMIN_2 else e for e in BASE.operators)}


OLD_CODE, NEW_CODE = "ab" * 48, "cd" * 48
INTRUDER = OperatorEntry(
    operator=an_id("opr", 9), name="new", key=seeded_key("new").public.key, roles=frozenset({Role.ADMIN})
)

RESTRICTIONS: Mapping[str, dict[str, Any]] = {
    "slot removed": {"slots": BASE.slots[:4]},
    "register named": slots(1, measurements={"mrtd": frozenset({OLD_CODE}), "rtmr0": frozenset({"00" * 48})}),
    "operator removed": {"operators": tuple(e for e in BASE.operators if e.operator != ADMIN_2)},
    "role removed": operators(roles=frozenset()),
    "quorum raised": {"quorum": {"roster": 2, "policy": 2}},
    "stricter appraisal": {"appraisal": {"allow_smt": False}},
    "fewer roots": {"appraisal": {"allowed_roots": ["intel"]}},
    "registry member removed": {
        "proof_of_cloud": replace(CLOUD, members={name: CLOUD.members[name] for name in ("member-1", "member-2")})
    },
    "proof level raised": {"proof_of_cloud": replace(CLOUD, level=2)},
    "registry age lowered": {"proof_of_cloud": replace(CLOUD, max_age_s=3600)},
    "diversity tightened": {"diversity": replace(BASE.diversity, limits={Dimension.REGION: 2})},
    "diversity named": {"diversity": replace(BASE.diversity, limits={Dimension.REGION: 3, Dimension.VENDOR: 3})},
    "common provider refused": {"diversity": replace(BASE.diversity, accept_common=frozenset())},
    "simulated root removed": {"simulated_roots": (b"root-1",)},
    "limit lowered": {"limits": {"keys": 99}},
    "limit named": {"limits": {"keys": 100, "agents": 5}},
    "issuer removed": {"oidc": ()},
    "audience removed": {"oidc": (replace(ISSUER, audiences=("holdfast",)),)},
    "issuer key removed": {"oidc": (replace(ISSUER, keys=(EDDSA,)),)},
    "approver removed": {"approvers": (replace(GROUP, members=GROUP.members[:2]),)},
    "longer delay": {"upgrade_delay_s": 60},
    "backup removed": {"backup": None},
    "domain proven": slots(1, failure_domain={"provider": "example", "region": "eu-1"}),
}
"""Each takes power away and nothing else; the last needs a base that states less."""

RELAXATIONS: Mapping[str, dict[str, Any]] = {
    "slot added": {"slots": (*BASE.slots, a_slot(6))},
    "code added": slots(1, measurements={"mrtd": frozenset({OLD_CODE, NEW_CODE})}),
    "url changed": slots(1, url="tls://127.0.0.1:9999"),
    "domain not proven": slots(1, failure_domain={}),
    "operator added": {"operators": (*BASE.operators, INTRUDER)},
    "role added": operators(roles=frozenset({Role.ADMIN, Role.AUDITOR})),
    "operator renamed": operators(name="other"),
    "quorum lowered": {"quorum": {"roster": 1, "policy": 1}},
    "looser appraisal": {"appraisal": {"allow_perfmon": True}},
    "registry member added": {
        "proof_of_cloud": replace(CLOUD, members={**CLOUD.members, "member-4": bytes(range(4, 36))})
    },
    "registry threshold lowered": {"proof_of_cloud": replace(CLOUD, threshold=1)},
    "freshness key changed": {"proof_of_cloud": replace(CLOUD, freshness_key=bytes(range(9, 41)))},
    "diversity loosened": {"diversity": replace(BASE.diversity, limits={Dimension.REGION: 4})},
    "common operator accepted": {
        "diversity": replace(BASE.diversity, accept_common=frozenset({Dimension.PROVIDER, Dimension.OPERATOR}))
    },
    "simulated root added": {"simulated_roots": (b"root-1", b"root-2", b"root-3")},
    "limit raised": {"limits": {"keys": 101}},
    "limit dropped": {"limits": {}},
    "audience added": {"oidc": (replace(ISSUER, audiences=("holdfast", "other", "third")),)},
    "issuer key added": {"oidc": (replace(ISSUER, keys=(*ISSUER.keys, {**EDDSA, "kid": "k3"})),)},
    "approver added": {
        "approvers": (replace(GROUP, members=(*GROUP.members, Approver(approver="x", key=seeded_key("x").public))),)
    },
    "witness numbers": {"witness": WitnessTerms(q=4, f=0, a=1)},
    "refresh schedule": {"refresh": None},
    "incarnation": {"incarnation": 2},
    "backup key": {"backup": replace(BACKUP, slots={"node-1": BackupSlot(key=b"k" * 32, custodians="set-1")})},
}
"""Each gives power, or cannot be told not to."""


def changed(base: Roster, change: dict[str, Any]) -> Roster:
    """The next version with one change."""
    values: dict[str, Any] = {"version": 2, "cluster": base.cluster_id, "previous": base.digest, "created_at": NOW}
    return replace(base, **values | change)


def base_for(name: str) -> Roster:
    """What a change is made to."""
    return replace(BASE, **slots(1, failure_domain={"provider": "example"})) if name == "domain proven" else BASE


@pytest.mark.parametrize("name", RESTRICTIONS)
def test_what_only_takes_away_is_a_restriction(name: str) -> None:
    """A change that takes power away has no relaxation in it, and counts on receipt."""
    old = base_for(name)
    new = changed(old, RESTRICTIONS[name])
    found = changes(old, new)
    assert found
    assert {change.effect for change in found} == {Effect.RESTRICTION}
    assert is_restriction(old, new)
    assert not admits_code(old, new)


@pytest.mark.parametrize("name", RELAXATIONS)
def test_what_gives_anything_is_a_relaxation(name: str) -> None:
    """A change that gives power never counts as a restriction."""
    new = changed(BASE, RELAXATIONS[name])
    found = changes(BASE, new)
    assert {change.effect for change in found} == {Effect.RELAXATION}
    assert not is_restriction(BASE, new)


@pytest.mark.parametrize("name", [*RESTRICTIONS, *RELAXATIONS])
def test_what_both_allow_gives_nothing_to_either(name: str) -> None:
    """The roster held meanwhile is a restriction of the old and of the new one, and is the old one in name."""
    old = base_for(name)
    new = changed(old, {**RESTRICTIONS, **RELAXATIONS}[name])
    between = restricted(old, new)
    assert (between.version, between.digest, between.cluster_id) == (old.version, old.digest, old.cluster_id)
    assert is_restriction(old, between)
    given = [change for change in changes(new, between) if change.effect is Effect.RELAXATION]
    # What has no narrower side stays as it was until activation.
    neutral = {"slots.node-1.url", f"operators.{ADMIN_2}.name", "proof_of_cloud.freshness_key"}
    neutral |= {"witness", "refresh", "incarnation"}
    assert {change.where for change in given} <= neutral


@pytest.mark.parametrize("name", RELAXATIONS)
def test_a_relaxation_changes_nothing_before_its_activation(name: str) -> None:
    """What is held meanwhile allows exactly what the old roster allowed, save a backup whose key moves."""
    between = restricted(BASE, changed(BASE, RELAXATIONS[name]))
    expected = {"backup"} if name == "backup key" else set()
    assert {change.where for change in changes(BASE, between)} == expected


@pytest.mark.parametrize("name", RESTRICTIONS)
def test_a_restriction_is_whole_in_what_both_allow(name: str) -> None:
    """What is held before activation has every restriction of the new roster."""
    old = base_for(name)
    new = changed(old, RESTRICTIONS[name])
    assert changes(restricted(old, new), new) == ()


def test_every_term_of_a_roster_is_compared() -> None:
    """No member of a roster can change without a change being reported, save its place in the chain."""
    touched = {name for change in (*RESTRICTIONS.values(), *RELAXATIONS.values()) for name in change}
    chain = {"version", "created_at", "cluster", "previous", "digest", "appraisal_policy", "environment"}
    assert {field.name for field in fields(Roster)} - touched == chain


def test_the_same_roster_has_no_changes() -> None:
    """A roster compared with itself under the next number changes nothing."""
    assert changes(BASE, changed(BASE, {})) == ()
    assert is_restriction(BASE, changed(BASE, {}))


def test_another_machine_in_a_slot_is_both() -> None:
    """A slot that moves to another machine loses the old one at once and waits for the new one."""
    new = changed(BASE, slots(2, platform=b"p" * 32))
    assert {change.effect for change in changes(BASE, new)} == set(Effect)
    assert "node-2" not in {entry.slot for entry in restricted(BASE, new).slots}
    assert not admits_code(BASE, new)


def test_another_key_of_an_operator_is_both() -> None:
    """An operator with a new key loses the old one at once and waits for the new one."""
    new = changed(BASE, operators(key=seeded_key("replacement").public.key))
    assert {change.effect for change in changes(BASE, new)} == set(Effect)
    assert ADMIN_2 not in {entry.operator for entry in restricted(BASE, new).operators}


def test_keys_that_look_alike_are_told_apart() -> None:
    """Two keys that differ in one middle character are two keys, however they are shown."""
    other = {**EDDSA, "x": "-" * 20 + "A" + "-" * 22}
    new = changed(BASE, {"oidc": (replace(ISSUER, keys=(other, ISSUER.keys[1])),)})
    assert not is_restriction(BASE, new)


@pytest.mark.parametrize(
    ("change", "admits"),
    [
        (slots(1, measurements={"mrtd": frozenset({NEW_CODE})}), True),
        (slots(1, measurements={"mrtd": frozenset({OLD_CODE, NEW_CODE})}), True),
        (slots(1, measurements={"rtmr0": frozenset({"00" * 48})}), True),
        ({"appraisal": {"allow_debug": True}}, True),
        ({"appraisal": {"measurements": {"mrtd": [OLD_CODE]}}}, False),
        ({"slots": (*BASE.slots, a_slot(6))}, False),
        ({"slots": (*BASE.slots, a_slot(6, measurements={"mrtd": frozenset({NEW_CODE})}))}, True),
        ({"slots": (*BASE.slots, a_slot(6, measurements={"measurement": frozenset({OLD_CODE})}))}, True),
        ({"operators": (*BASE.operators, INTRUDER)}, False),
    ],
)
def test_new_code_is_recognised(change: dict[str, Any], admits: bool) -> None:
    """Whatever lets code run that could not run before waits for the delay; nothing else does."""
    assert admits_code(BASE, changed(BASE, change)) is admits


def test_code_is_narrowed_to_what_both_allow() -> None:
    """While an upgrade waits, exactly the code of both rosters may run; disjoint code means none."""
    wider = changed(BASE, slots(1, measurements={"mrtd": frozenset({OLD_CODE, NEW_CODE})}))
    assert restricted(BASE, wider).slot("node-1").measurements == {"mrtd": frozenset({OLD_CODE})}
    other = changed(BASE, slots(1, measurements={"mrtd": frozenset({NEW_CODE})}))
    narrow = restricted(BASE, other)
    assert narrow.slot("node-1").measurements == {"mrtd": frozenset()}
    # A third version cannot bring back what the second took away before either is activated.
    third = replace(other, version=3, previous=other.digest, slots=BASE.slots)
    assert restricted(narrow, third).slot("node-1").measurements == {"mrtd": frozenset()}


def test_policies_without_common_ground_accept_nothing() -> None:
    """Two policies that share no root refuse every machine together."""
    none = both(AppraisalPolicy(allowed_roots=frozenset({"intel"})), AppraisalPolicy(allowed_roots=frozenset({"amd"})))
    assert none == NOTHING
    assert AppraisalPolicy.from_json(NOTHING.to_json()) == NOTHING


def _set(names: list[str], value: bool) -> dict[str, Any]:
    return dict.fromkeys(names, value)


def test_every_rule_of_appraisal_has_a_stricter_side() -> None:
    """Each field of a policy, loosened or tightened alone, is combined to the tighter setting."""
    allow = [f.name for f in fields(AppraisalPolicy) if f.name.startswith("allow_")]
    require = [f.name for f in fields(AppraisalPolicy) if f.name.startswith("require_")]
    open_, closed = _set(allow, True) | _set(require, False), _set(allow, False) | _set(require, True)
    loose = AppraisalPolicy(
        advisories_allowed=None,
        out_of_date_grace_s=9,
        min_tcb_evaluation=12,
        tcb_evaluation_gap_max=5,
        measurements={},
        allowed_service_tds=frozenset({"aa"}),
        **open_,
        max_vmpl=3,
        max_age_s=400,
    )
    tight = AppraisalPolicy(
        advisories_allowed=frozenset(),
        out_of_date_grace_s=0,
        min_tcb_evaluation=20,
        tcb_evaluation_gap_max=1,
        measurements={"mrtd": frozenset({OLD_CODE})},
        **closed,
        allowed_tees=frozenset(list(loose.allowed_tees)[:1]),
        allowed_roots=frozenset({"intel"}),
        accepted_tcb=frozenset(list(loose.accepted_tcb)[:1]),
        snp_tcb_floor={"Milan": {"snp": 3}},
        xfam_allowed=3,
        max_vmpl=0,
        max_age_s=10,
    )
    assert {f.name for f in fields(AppraisalPolicy) if getattr(loose, f.name) == getattr(tight, f.name)} == set()
    assert both(loose, tight) == both(tight, loose) == tight
