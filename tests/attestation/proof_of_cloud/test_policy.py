"""The decision about one platform: every refusal alone, and what may be relied on until when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attestation.errors import PolicyError
from attestation.evidence import Claims, Tee
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.policy import (
    Placement,
    ProofOfCloudCheck,
    ProofOfCloudPolicy,
    check_distinct,
    check_platform,
)
from attestation.proof_of_cloud.registry import Registry
from attestation.proof_of_cloud.statement import Method, Source, Statement

from .conftest import DAY, MACHINE, NOW, OTHER, code_of, verified

POLICY = ProofOfCloudPolicy.production()
TOKEN = Statement(
    commitment=MACHINE.commitment,
    source=Source.ALLIANCE,
    issuer="alliance",
    method=Method.ALLIANCE_MEMBERSHIP,
    level=1,
    issued_at=NOW,
    expires_at=NOW + 100,
)


def _ask(registry: Registry, policy: ProofOfCloudPolicy = POLICY, **more: Any) -> Callable[[], Placement]:
    snapshot = verified(registry)
    return lambda: check_platform(snapshot, more.pop("platform", MACHINE), policy=policy, now=NOW + 10, **more)


def test_a_listed_platform_is_placed(registry: Registry) -> None:
    """Provider, region, level and the earliest end of anything relied on."""
    found = _ask(registry)()
    assert (found.provider, found.region, found.level, found.label) == ("acme", "eu-1", 1, "independent")
    assert found.valid_until == NOW + DAY
    assert found.to_json()["statements"][0]["source"] == "registry"


def test_no_id_is_absent(registry: Registry) -> None:
    """Masked chip keys, VLEK and Nitro evidence has no platform id."""
    assert code_of(_ask(registry, platform=None)) == "absent"


def test_an_unlisted_platform_is_refused(registry: Registry) -> None:
    """Row 106 too: only the exact platform is listed."""
    assert code_of(_ask(registry, platform=OTHER)) == "not-listed"


def test_a_revoked_platform_is_refused(registry: Registry) -> None:
    """Revocation wins over a statement in force, and over other sources' statements."""
    registry.revoke(MACHINE, "stolen", NOW + 1)
    assert code_of(_ask(registry)) == "revoked"
    assert code_of(_ask(registry, statements=[TOKEN])) == "revoked"


def test_a_frozen_platform_is_refused(registry: Registry) -> None:
    """A freeze of one platform stops that one only."""
    registry.add_platform(OTHER, provider="acme", now=NOW)
    registry.freeze("inspection", NOW + 1, platform=MACHINE)
    assert code_of(_ask(registry)) == "frozen"
    assert _ask(registry, platform=OTHER)().provider == "acme"


def test_a_frozen_registry_refuses_everybody(registry: Registry) -> None:
    """During an incident no platform passes, whatever other sources say."""
    registry.freeze("incident", NOW + 1)
    assert code_of(_ask(registry, statements=[TOKEN])) == "frozen"


def test_a_stale_registry_is_refused(registry: Registry) -> None:
    """The policy's own maximum age holds even if the snapshot was verified with a longer one."""
    snapshot = verified(registry, now=NOW + 10, max_age=10 * DAY)

    def ask(now: int) -> Placement:
        return check_platform(snapshot, MACHINE, policy=POLICY, now=now)

    assert ask(NOW + DAY).level == 1
    assert code_of(lambda: ask(NOW + DAY + 1)) == "stale"


def test_an_unverified_snapshot_decides_nothing(registry: Registry) -> None:
    """Forgetting to verify is an error, never a yes."""
    snapshot = registry.snapshot()
    assert code_of(lambda: check_platform(snapshot, MACHINE, policy=POLICY, now=NOW)) == "signatures"


def test_a_minimum_level(registry: Registry) -> None:
    """Level 2 is refused before a witness endorses, accepted after."""
    policy = replace(POLICY, level_min=2)
    assert code_of(_ask(registry, policy)) == "level"
    registry.endorse(MACHINE, issuer="member-2", method=Method.WITNESS, evidence=["ab" * 32], now=NOW + 1)
    assert _ask(registry, policy)().level == 2


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        ({"providers": frozenset({"acme"})}, {"providers": frozenset({"other"})}),
        ({"regions": frozenset({"eu-1"})}, {"regions": frozenset({"us-1"})}),
        ({"methods": frozenset({Method.PROVIDER_STATEMENT})}, {"methods": frozenset({Method.WITNESS})}),
        ({"sources": frozenset({Source.REGISTRY})}, {"sources": frozenset({Source.ALLIANCE})}),
    ],
    ids=["provider", "region", "method", "source"],
)
def test_accepted_values(registry: Registry, accepted: dict[str, Any], refused: dict[str, Any]) -> None:
    """Each set alone decides."""
    assert _ask(registry, replace(POLICY, **accepted))().level == 1
    assert code_of(_ask(registry, replace(POLICY, **refused))) == "not-listed"


def test_k_of_sources(registry: Registry) -> None:
    """Two sources are needed: the registry and a token are, a source repeated is not."""
    policy = replace(POLICY, sources_needed=2)
    assert code_of(_ask(registry, policy)) == "not-listed"
    assert code_of(_ask(registry, policy, platform=MACHINE, statements=[replace(TOKEN, expires_at=NOW + 5)])) == (
        "not-listed"
    )
    assert len(_ask(registry, policy, statements=[TOKEN])().statements) == 2
    policy = replace(POLICY, sources_needed=3)
    assert code_of(_ask(registry, policy, statements=[TOKEN, TOKEN])) == "not-listed"


def test_a_statement_about_another_machine_does_not_help(registry: Registry) -> None:
    """Only statements with this platform's commitment count."""
    policy = replace(POLICY, sources_needed=2)
    foreign = replace(TOKEN, commitment=OTHER.commitment)
    assert code_of(_ask(registry, policy, statements=[foreign])) == "not-listed"


def test_the_answer_ends_with_the_first_statement(registry: Registry) -> None:
    """`valid_until` is the earliest expiry of what was relied on."""
    assert _ask(registry, replace(POLICY, sources_needed=2), statements=[TOKEN])().valid_until == NOW + 100


def test_self_attestation_is_labelled(registry: Registry) -> None:
    """A registry whose members all are the cluster's operators is shown as such, or refused if asked."""
    members = registry.config.members
    own = list(members.values())
    assert _ask(registry, operators=own, members=members)().label == "self-attested"
    assert _ask(registry, operators=own[:2], members=members)().label == "independent"
    strict = ProofOfCloudPolicy.independent()
    assert code_of(_ask(registry, strict, operators=own, members=members)) == "not-listed"
    mixed = _ask(registry, strict, operators=own, members=members, statements=[TOKEN])()
    assert (mixed.label, mixed.statements) == ("independent", (TOKEN,))


def test_provider_operated_is_a_class_of_its_own(registry: Registry) -> None:
    """Evidence without an id passes only if the policy accepts the class, and never as a higher level."""
    allowed = replace(POLICY, allow_provider_operated=True)
    assert code_of(_ask(registry, platform=None, provider_operated="aws")) == "absent"
    assert code_of(_ask(registry, allowed, platform=None)) == "absent"
    assert code_of(_ask(registry, replace(allowed, level_min=2), platform=None, provider_operated="aws")) == "absent"
    strict = replace(allowed, providers=frozenset({"acme"}))
    assert code_of(_ask(registry, strict, platform=None, provider_operated="aws")) == "not-listed"
    assert _ask(registry, allowed, platform=None, provider_operated="aws")().label == "provider-operated"


def test_a_machine_counts_once_in_a_quorum() -> None:
    """Row 105: one machine under two names is refused, and so is a member without an id."""
    check_distinct([MACHINE, OTHER])
    assert code_of(lambda: check_distinct([MACHINE, OTHER, MACHINE])) == "duplicate"
    assert code_of(lambda: check_distinct([MACHINE, None])) == "absent"


def test_the_same_id_of_two_kinds_is_two_machines() -> None:
    """Distinctness is by the whole typed id."""
    check_distinct([MACHINE, PlatformId(kind="intel:piid", value=MACHINE.value)])


@pytest.mark.parametrize(("tee", "passes"), [(Tee.NITRO, True), (Tee.SEV_SNP, False)])
def test_only_nitro_proves_its_operator(registry: Registry, tee: Tee, passes: bool) -> None:
    """As a verdict step: a Nitro chain names the provider, a VLEK report does not."""
    policy = replace(POLICY, allow_provider_operated=True)
    check = ProofOfCloudCheck(snapshot=verified(registry), policy=policy)
    claims = Claims(tee=tee, root="aws", evidence_id="00", report_data=b"", measurements={}, valid_until=NOW + 99)
    if passes:
        check.check(claims, NOW + 10)
    else:
        assert code_of(lambda: check.check(claims, NOW + 10)) == "absent"


def test_a_policy_file_reads() -> None:
    """Every member by name."""
    policy = ProofOfCloudPolicy.from_json(
        {
            "level_min": 2,
            "methods": ["witness"],
            "providers": ["acme"],
            "regions": ["eu-1"],
            "sources": ["registry"],
            "sources_needed": 2,
            "max_age_s": 60,
            "allow_self_attested": False,
            "allow_provider_operated": True,
        }
    )
    assert policy.methods == {Method.WITNESS}
    assert (policy.level_min, policy.max_age_s, policy.allow_self_attested) == (2, 60, False)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"unknown": 1},
        {"level_min": "1"},
        {"level_min": True},
        {"level_min": 4},
        {"sources_needed": 0},
        {"max_age_s": 0},
        {"methods": ["rumour"]},
        {"methods": "witness"},
        {"providers": [1]},
        {"allow_self_attested": 1},
    ],
)
def test_a_wrong_policy_file_is_refused(value: Any) -> None:
    """Unknown members, wrong types and impossible numbers never make a policy."""
    with pytest.raises(PolicyError):
        ProofOfCloudPolicy.from_json(value)


def test_an_expired_statement_is_not_listed(tmp_path: Path) -> None:
    """Half a year later, unrenewed, the machine is no longer listed."""
    registry = Registry.development(tmp_path / "r", now=NOW)
    registry.add_platform(MACHINE, provider="acme", now=NOW, lifetime_s=5)
    assert code_of(_ask(registry)) == "not-listed"
