"""Simulated TDX quotes under the production verifier, and every adversarial case it must refuse or describe."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import dcap_qvl
import pytest

from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.evidence import TcbStatus, Tee
from attestation.policy import AppraisalPolicy
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.pck import COMPONENTS_UNSUPPORTED, PckFacts
from attestation.simulated.platform import Platform
from attestation.simulated.tcb import QE_SVN_OUT_OF_DATE, TcbClaims
from attestation.simulated.tdx import (
    TD_ATTRIBUTES_DEBUG,
    TD_ATTRIBUTES_MIGRATABLE,
    TEE_TCB_SVN_OUT_OF_DATE,
    QuotingEnclave,
)
from attestation.verdict import Outcome, Result
from attestation.verifier import Verifier

from .conftest import NOW

MRTD = simulated_measurement("node")
REPORT_DATA = bytes(range(64))


def _code(verifier: Verifier, quote: bytes, collateral: Collateral) -> str:
    with pytest.raises(AttestationError) as caught:
        verifier.verify(quote, collateral=collateral, now=NOW)
    return caught.value.code


def _failed(verifier: Verifier, quote: bytes, collateral: Collateral, policy: AppraisalPolicy) -> list[str]:
    verdict = verifier.examine(quote, collateral=collateral, now=NOW, policy=policy)
    assert verdict.claims is not None
    return [step.name for step in verdict.steps if step.result is Outcome.FAIL]


def test_the_production_verifier_reads_every_field(
    verifier: Verifier, platform: Platform, collateral: Collateral
) -> None:
    """A fresh quote verifies unchanged, and the claims hold what was put in."""
    rtmrs = [bytes([number]) * 48 for number in range(1, 5)]
    quote = platform.quote(
        REPORT_DATA, mrtd=MRTD, mrconfigid=b"\x0a" * 48, rtmrs=rtmrs, mrowner=b"\x0b" * 48, mrownerconfig=b"\x0c" * 48
    )
    claims = verifier.verify(quote, collateral=collateral, now=NOW)
    assert (claims.tee, claims.root, claims.tcb_status) == (Tee.TDX, "simulated", TcbStatus.UP_TO_DATE)
    assert claims.report_data == REPORT_DATA
    assert claims.platform_id == platform.platform_id
    expected = {"mrtd": MRTD, "mrconfigid": b"\x0a" * 48, "mrowner": b"\x0b" * 48, "mrownerconfig": b"\x0c" * 48}
    expected |= {f"rtmr{number}": value for number, value in enumerate(rtmrs)}
    assert {name: claims.measurements[name] for name in expected} == {n: v.hex() for n, v in expected.items()}


def test_an_independent_verifier_agrees(authority: Authority, platform: Platform) -> None:
    """The quote and collateral are real enough for another implementation."""
    bundle = dcap_qvl.QuoteCollateralV3.from_json(authority.collateral(NOW)[0].decode())
    quote = platform.quote(REPORT_DATA, mrtd=MRTD)
    assert dcap_qvl.verify_with_root_ca(quote, bundle, authority.root_der, NOW).status == "UpToDate"


def test_development_policy_trusts_it(verifier: Verifier, platform: Platform, collateral: Collateral) -> None:
    """With the simulated root allowed, the whole verdict is positive."""
    verdict = verifier.examine(
        platform.quote(REPORT_DATA, mrtd=MRTD),
        collateral=collateral,
        now=NOW,
        policy=AppraisalPolicy.development(),
        expected_report_data=REPORT_DATA,
    )
    assert verdict.result is Result.TRUSTED, verdict.reasons


def test_production_policy_refuses_the_root_and_only_that(
    verifier: Verifier, platform: Platform, collateral: Collateral
) -> None:
    """Row 101: hardware-only policy refuses simulated evidence because of its root alone."""
    quote = platform.quote(REPORT_DATA, mrtd=MRTD)
    assert len(_failed(verifier, quote, collateral, AppraisalPolicy.production())) == 1
    assert _failed(verifier, quote, collateral, AppraisalPolicy.development()) == []


def test_a_production_verifier_does_not_know_the_root(platform: Platform, collateral: Collateral) -> None:
    """Row 101: pinned vendor roots do not lead to a simulated machine."""
    assert _code(Verifier.production(), platform.quote(REPORT_DATA, mrtd=MRTD), collateral).startswith("certificate.")


def test_another_authority_with_the_same_names_is_refused(
    verifier: Verifier, collateral: Collateral, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Names prove nothing: a second authority's machine fails under the first one's root."""
    impostor = Authority.create(tmp_path_factory.mktemp("impostor") / "vendor").platform("machine-1")
    assert _code(verifier, impostor.quote(REPORT_DATA, mrtd=MRTD), collateral).startswith("certificate.")


@pytest.mark.parametrize(
    ("overrides", "failing"),
    [
        ({"attributes": TD_ATTRIBUTES_DEBUG}, "debug"),
        ({"attributes": TD_ATTRIBUTES_MIGRATABLE}, "migrat"),
        ({"attributes": bytes(8)}, "sept"),
    ],
)
def test_attributes_are_described_and_refused_by_policy(
    verifier: Verifier, platform: Platform, collateral: Collateral, overrides: dict[str, Any], failing: str
) -> None:
    """A debug, migratable or unprotected TD verifies, and exactly one policy step refuses it."""
    quote = platform.quote(REPORT_DATA, mrtd=MRTD, **overrides)
    verdict = verifier.examine(quote, collateral=collateral, now=NOW, policy=AppraisalPolicy.development())
    assert verdict.claims is not None
    assert len(verdict.reasons) == 1
    assert failing in verdict.reasons[0] or failing in str(verdict.to_json()["steps"]).lower()


def test_an_out_of_date_module_is_described(verifier: Verifier, platform: Platform, collateral: Collateral) -> None:
    """An old TEE_TCB_SVN makes the status OutOfDate, and policy refuses it."""
    quote = platform.quote(REPORT_DATA, mrtd=MRTD, tee_tcb_svn=TEE_TCB_SVN_OUT_OF_DATE)
    claims = verifier.verify(quote, collateral=collateral, now=NOW)
    assert claims.tcb_status is TcbStatus.OUT_OF_DATE
    assert len(_failed(verifier, quote, collateral, AppraisalPolicy.development())) == 1


def test_an_out_of_date_certificate_is_described(
    verifier: Verifier, authority: Authority, collateral: Collateral
) -> None:
    """A machine before its microcode update is OutOfDate with the advisories of its level."""
    old = authority.platform("old-microcode")
    old = authority.reissue(old, old.facts.out_of_date())
    claims = verifier.verify(old.quote(REPORT_DATA, mrtd=MRTD), collateral=collateral, now=NOW)
    assert claims.tcb_status is TcbStatus.OUT_OF_DATE
    assert "INTEL-SA-01192" in claims.advisories


def test_an_unsupported_machine_cannot_pass(verifier: Verifier, authority: Authority, collateral: Collateral) -> None:
    """Components below every level are not supported, whatever else holds."""
    facts = PckFacts(ppid=b"\x11" * 16, instance_id=b"\x12" * 16, components=COMPONENTS_UNSUPPORTED, pce_svn=0)
    quote = authority.platform("unsupported", facts=facts).quote(REPORT_DATA, mrtd=MRTD)
    verdict = verifier.examine(quote, collateral=collateral, now=NOW, policy=AppraisalPolicy.development())
    assert verdict.result is Result.UNTRUSTED


def test_an_old_quoting_enclave_is_described(verifier: Verifier, platform: Platform, collateral: Collateral) -> None:
    """A low ISVSVN of the quoting enclave lowers the status."""
    quote = platform.quote(REPORT_DATA, mrtd=MRTD, enclave=QuotingEnclave(isv_svn=QE_SVN_OUT_OF_DATE))
    assert verifier.verify(quote, collateral=collateral, now=NOW).tcb_status is TcbStatus.OUT_OF_DATE


@pytest.mark.parametrize(
    "enclave",
    [QuotingEnclave(mrsigner=bytes(32)), QuotingEnclave(product=1), QuotingEnclave(attributes=b"\x17" + bytes(15))],
    ids=["signer", "product", "debug"],
)
def test_a_foreign_quoting_enclave_is_refused(
    verifier: Verifier, platform: Platform, collateral: Collateral, enclave: QuotingEnclave
) -> None:
    """Another signer, another product or a debug quoting enclave is not Intel's."""
    assert _code(verifier, platform.quote(REPORT_DATA, mrtd=MRTD, enclave=enclave), collateral).startswith("evidence.")


def test_a_revoked_machine_is_refused(verifier: Verifier, authority: Authority) -> None:
    """Once its certificate is on the CRL, a machine's quotes fail; before, they verify."""
    stolen = authority.platform("stolen")
    quote = stolen.quote(REPORT_DATA, mrtd=MRTD)
    before = Collateral.of(*authority.collateral(NOW))
    assert verifier.verify(quote, collateral=before, now=NOW).platform_id == stolen.platform_id
    authority.revoke_pck(stolen)
    assert _code(verifier, quote, Collateral.of(*authority.collateral(NOW))) == "certificate.revoked"


def test_a_zero_ppid_is_absent(verifier: Verifier, authority: Authority, collateral: Collateral) -> None:
    """Row 61: a blank hardware identifier never becomes a platform id."""
    facts = PckFacts(ppid=bytes(16), instance_id=b"\x13" * 16)
    quote = authority.platform("blank", facts=facts).quote(REPORT_DATA, mrtd=MRTD)
    assert verifier.verify(quote, collateral=collateral, now=NOW).platform_id is None


@pytest.mark.parametrize("status", ["SWHardeningNeeded", "ConfigurationNeeded", "OutOfDate"])
def test_the_authority_can_state_any_status(
    verifier: Verifier, authority: Authority, platform: Platform, status: str
) -> None:
    """Adversarial collateral: the newest level gets the status asked for."""
    claims = TcbClaims(status=status, advisories=("INTEL-SA-00001",))
    collateral = Collateral.of(*authority.collateral(NOW, claims=claims))
    found = verifier.verify(platform.quote(REPORT_DATA, mrtd=MRTD), collateral=collateral, now=NOW)
    assert found.tcb_status == status
    assert found.advisories == ("INTEL-SA-00001",)


def test_collateral_grows_old(verifier: Verifier, platform: Platform, collateral: Collateral) -> None:
    """After its thirty days collateral no longer decides anything."""
    quote = platform.quote(REPORT_DATA, mrtd=MRTD)
    verdict = verifier.examine(
        quote, collateral=collateral, now=NOW + 31 * 86_400, policy=AppraisalPolicy.development()
    )
    assert verdict.result is Result.INDETERMINATE


def test_a_changed_byte_breaks_the_signature(verifier: Verifier, platform: Platform, collateral: Collateral) -> None:
    """The signatures are real: flipping one bit of the measurement is noticed."""
    quote = bytearray(platform.quote(REPORT_DATA, mrtd=MRTD))
    quote[184] ^= 1
    assert _code(verifier, bytes(quote), collateral) == "evidence.signature"


def test_another_machines_key_cannot_speak_for_this_one(
    verifier: Verifier, authority: Authority, platform: Platform, collateral: Collateral
) -> None:
    """A quoting-enclave report signed by a different PCK than the certificate's is refused."""
    other = authority.platform("machine-2")
    mixed = replace(platform, signer=replace(platform.signer, pck_key=other.signer.pck_key))
    assert _code(verifier, mixed.quote(REPORT_DATA, mrtd=MRTD), collateral) == "evidence.qe-signature"


def test_bundle_has_the_common_shape(authority: Authority) -> None:
    """The collateral bundle has the members other tools read."""
    bundle = json.loads(authority.collateral(NOW)[0])
    assert set(bundle) == {
        "pck_crl_issuer_chain",
        "root_ca_crl",
        "pck_crl",
        "tcb_info_issuer_chain",
        "tcb_info",
        "tcb_info_signature",
        "qe_identity_issuer_chain",
        "qe_identity",
        "qe_identity_signature",
    }


def test_platform_ids_of_quotes_differ_by_machine(
    verifier: Verifier, authority: Authority, platform: Platform, collateral: Collateral
) -> None:
    """Two machines with the same image are two platforms."""
    quotes = [machine.quote(REPORT_DATA, mrtd=MRTD) for machine in (platform, authority.platform("machine-2"))]
    found = {verifier.verify(quote, collateral=collateral, now=NOW).platform_id for quote in quotes}
    assert len(found) == 2
    assert all(isinstance(item, PlatformId) for item in found)
