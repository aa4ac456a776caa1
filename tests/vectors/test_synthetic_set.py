"""The project's own synthetic set: reproducible byte for byte, and every case judged as its index says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.policy import AppraisalPolicy
from attestation.verdict import Result, Verdict
from attestation.verifier import Verifier
from tests.vectors.case import Case
from tests.vectors.catalogue import INDEX, every_case, index

CASES = every_case()
POLICY = replace(
    AppraisalPolicy.development(),
    allowed_roots=frozenset({"simulated", "custom"}),
    require_alias_check=True,
    snp_tcb_floor={"Milan": {"bootloader": 4}},
)
HIDING = replace(POLICY, require_ciphertext_hiding=True)


def examine(case: Case) -> Verdict:
    """The verdict of one case under a policy that also sets a firmware floor."""
    policy = HIDING if case.policy == "policy.ciphertext-hiding" else POLICY
    if case.name == "snp-ok-turin":
        policy = replace(policy, snp_tcb_floor={})
    verifier = Verifier.with_root(*case.roots)
    return verifier.examine(case.evidence, collateral=Collateral.of(*case.collateral), now=case.now, policy=policy)


def test_the_generator_reproduces_the_committed_set() -> None:
    """Generating again gives exactly the committed digests, names, rows and verdicts."""
    assert index() == json.loads(INDEX.read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    """A case is refused with its own code, or verifies and fails exactly the policy rule it names."""
    verifier = Verifier.with_root(*case.roots)
    if case.expected:
        with pytest.raises(AttestationError) as caught:
            verifier.verify(case.evidence, collateral=Collateral.of(*case.collateral), now=case.now)
        assert caught.value.code == case.expected
        assert examine(case).result is not Result.TRUSTED
        return
    verdict = examine(case)
    # A debug enclave is told by its blank registers, so the rule against blank registers fails with it.
    also = ("policy.zero-measurements",) if case.name == "nitro-debug" else ()
    assert verdict.reasons == ((case.policy, *also) if case.policy else ())
    assert verdict.result is (Result.UNTRUSTED if case.policy else Result.TRUSTED)


@pytest.mark.parametrize(
    ("changed", "original"),
    [
        ("intel-padded", "intel-ok-v4"),
        ("intel-sig-malleable", "intel-ok-v4"),
        ("snp-sig-malleable", "snp-ok"),
        ("nitro-sig-malleable", "nitro-ok"),
        ("nitro-ok-tag18", "nitro-ok"),
    ],
)
def test_malleated_evidence_keeps_its_id(changed: str, original: str) -> None:
    """Rows 7, 9, 77, 86 and 90: what can be changed without a key does not change the evidence id."""
    ids = {}
    for case in CASES:
        if case.name in (changed, original):
            claims = examine(case).claims
            assert claims is not None
            ids[case.name] = claims.evidence_id
    assert ids[changed] == ids[original]
    by_name = {case.name: case.evidence for case in CASES}
    assert by_name[changed] != by_name[original]


@pytest.mark.parametrize("first", ["intel-ok-v4", "snp-ok", "nitro-ok"])
@pytest.mark.parametrize("second", ["intel-ok-v4", "snp-ok", "nitro-ok"])
def test_row_102_platforms_are_not_confused(first: str, second: str) -> None:
    """Row 102: evidence of one platform never verifies under the roots and collateral of another."""
    cases = {case.name: case for case in CASES}
    evidence, world = cases[first], cases[second]
    verifier = Verifier.with_root(*world.roots)
    collateral = Collateral.of(*world.collateral)
    if first == second:
        verifier.verify(evidence.evidence, collateral=collateral, now=evidence.now)
        return
    with pytest.raises(AttestationError):
        verifier.verify(evidence.evidence, collateral=collateral, now=evidence.now)
