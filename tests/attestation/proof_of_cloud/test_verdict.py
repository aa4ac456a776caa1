"""Proof of cloud as a step of the whole verdict, on fresh simulated evidence."""

from __future__ import annotations

from pathlib import Path

import pytest

from attestation.collateral import Collateral
from attestation.policy import AppraisalPolicy
from attestation.proof_of_cloud.policy import ProofOfCloudCheck, ProofOfCloudPolicy
from attestation.proof_of_cloud.registry import Registry
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.platform import Platform
from attestation.verdict import Result, Verdict
from attestation.verifier import Verifier

from .conftest import NOW, verified


class Setting:
    """One authority, one machine, one registry."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority.create(directory / "vendor")
        self.registry = Registry.development(directory / "registry", now=NOW)
        self.machine = self.authority.platform("machine-1")
        self.verifier = Verifier.with_root(self.authority.root_der)

    def verdict(self, machine: Platform | None = None) -> Verdict:
        """The verdict on a fresh quote, with proof of cloud as a statement."""
        quote = (machine or self.machine).quote(bytes(64), mrtd=simulated_measurement("node"))
        check = ProofOfCloudCheck(snapshot=verified(self.registry), policy=ProofOfCloudPolicy.production())
        return self.verifier.examine(
            quote,
            collateral=Collateral.of(*self.authority.collateral(NOW)),
            now=NOW + 5,
            policy=AppraisalPolicy.development(),
            statements=[check],
        )


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """A fresh setting with the machine listed."""
    setting = Setting(tmp_path)
    setting.registry.add_platform(setting.machine.platform_id, provider="acme", now=NOW)
    return setting


def test_a_listed_machine_is_trusted(setting: Setting) -> None:
    """Evidence, policy and registry agree."""
    assert setting.verdict().result is Result.TRUSTED


def test_a_genuine_machine_nobody_lists_is_not(setting: Setting) -> None:
    """Good evidence from an unknown place is refused for that reason alone."""
    verdict = setting.verdict(setting.authority.platform("cellar"))
    assert verdict.result is Result.UNTRUSTED
    assert verdict.reasons == ("proof-of-cloud.not-listed",)


def test_a_revoked_machine_is_refused_until_reinstated(setting: Setting) -> None:
    """The same evidence: trusted, revoked, still revoked after being listed again, reinstated."""
    registry, platform_id = setting.registry, setting.machine.platform_id
    registry.revoke(platform_id, "stolen", NOW + 1)
    assert setting.verdict().reasons == ("proof-of-cloud.revoked",)
    registry.add_platform(platform_id, provider="acme", now=NOW + 2)
    assert setting.verdict().reasons == ("proof-of-cloud.revoked",)
    registry.reinstate("found and reset", NOW + 3, platform=platform_id)
    assert setting.verdict().result is Result.TRUSTED


def test_a_tcb_recovery_does_not_lose_the_machine(setting: Setting) -> None:
    """A new PCK certificate leaves the platform id, and so the listing, as it was."""
    old = setting.authority.reissue(setting.machine, setting.machine.facts.out_of_date())
    renewed = setting.authority.reissue(old, setting.machine.facts)
    assert renewed.pck != setting.machine.pck
    assert setting.verdict(renewed).result is Result.TRUSTED
