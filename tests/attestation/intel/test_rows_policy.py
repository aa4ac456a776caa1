"""Appraisal of validly signed quotes, rows 23 to 37: verification describes, the policy refuses with its own code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from attestation.collateral import Collateral
from attestation.errors import EvidenceError
from attestation.evidence import Claims
from attestation.policy import AppraisalPolicy
from attestation.verdict import Outcome, Result, Verdict
from attestation.verifier import Verifier
from tests.attestation.intel.kit import NOW, SGX_ATTRIBUTES, Kit

POLICY = AppraisalPolicy.development()
SEPT_VE = 1 << 28


def attributes(bits: int) -> bytes:
    """TDATTRIBUTES with these bits."""
    return bits.to_bytes(8, "little")


def claims_of(kit: Kit, **fields: Any) -> Claims:
    """Claims of a quote with changed TD report fields."""
    return kit.verify(kit.quote(**fields))


def refusals(claims: Claims, policy: AppraisalPolicy = POLICY) -> list[str | None]:
    """Codes of the failed rules."""
    return [step.code for step in policy.appraise(claims, NOW) if step.result is Outcome.FAIL]


def examine(kit: Kit, quote: bytes, expected: bytes | None, now: int = NOW) -> Verdict:
    """The verdict under the development policy."""
    verifier = Verifier.with_root(kit.root.der)
    collateral = Collateral.of(kit.bundle())
    return verifier.examine(quote, collateral=collateral, now=now, policy=POLICY, expected_report_data=expected)


def test_an_ordinary_machine_passes(kit: Kit) -> None:
    """Without a change nothing is refused: each refusal below is due to its change alone."""
    assert refusals(kit.verify()) == []
    assert refusals(kit.verify(kit.quote(version=3), kit.bundle(sgx=True))) == []


@pytest.mark.parametrize(
    ("row", "bits", "code", "relaxed"),
    [
        ("23-debug", SEPT_VE | 1, "policy.debug", {"allow_debug": True}),
        ("24-tud-reserved-1", SEPT_VE | 1 << 1, "policy.reserved-attributes", None),
        ("24-tud-reserved-7", SEPT_VE | 1 << 7, "policy.reserved-attributes", None),
        ("24-hgs-plus", SEPT_VE | 1 << 4, "policy.profiling", {"allow_profiling": True}),
        ("24-perf-prof", SEPT_VE | 1 << 5, "policy.profiling", {"allow_profiling": True}),
        ("24-pmt-prof", SEPT_VE | 1 << 6, "policy.profiling", {"allow_profiling": True}),
        ("25-migratable", SEPT_VE | 1 << 29, "policy.migratable", {"allow_migratable": True}),
        ("27-perfmon", SEPT_VE | 1 << 63, "policy.perfmon", {"allow_perfmon": True}),
        ("27-key-locker", SEPT_VE | 1 << 31, "policy.key-locker", {"allow_key_locker": True}),
        ("28-reserved-40", SEPT_VE | 1 << 40, "policy.reserved-attributes", None),
        ("28-reserved-23", SEPT_VE | 1 << 23, "policy.reserved-attributes", None),
        ("28-reserved-61", SEPT_VE | 1 << 61, "policy.reserved-attributes", None),
        ("29-no-sept-ve-disable", 0, "policy.sept-ve-disable", {"require_sept_ve_disable": False}),
    ],
)
def test_rows_23_to_29_attribute_bits(
    kit: Kit, row: str, bits: int, code: str, relaxed: dict[str, bool] | None
) -> None:
    """One attribute bit, one rule; where the policy has a switch, the switch lifts exactly that rule."""
    claims = claims_of(kit, attributes=attributes(bits))
    assert refusals(claims) == [code], row
    if relaxed is not None:
        assert refusals(claims, replace(POLICY, **relaxed)) == []


@pytest.mark.parametrize("bit", [16, 17, 18, 22, 27, 30, 62])
def test_row_27_harmless_bits(kit: Kit, bit: int) -> None:
    """ICSSD, SERVTD_EXT, the ignored range, LASS, PKS and TPA are accepted."""
    assert refusals(claims_of(kit, attributes=attributes(SEPT_VE | 1 << bit))) == []


def test_row_23_sgx_debug(kit: Kit) -> None:
    """A debug enclave is described exactly and refused by policy."""
    quote = kit.quote(version=3, attributes=bytes([SGX_ATTRIBUTES[0] | 2]) + SGX_ATTRIBUTES[1:])
    claims = kit.verify(quote, kit.bundle(sgx=True))
    assert claims.flags["debug"]
    assert refusals(claims) == ["policy.debug"]


def test_row_26_service_td(kit: Kit) -> None:
    """A TD bound to a service TD is refused unless that service TD is allowed by name."""
    service = bytes([0x5E]) * 48
    claims = claims_of(kit, version=5, mrservicetd=service)
    assert refusals(claims) == ["policy.service-td"]
    assert refusals(claims, replace(POLICY, allowed_service_tds=frozenset({service.hex()}))) == []
    assert refusals(claims, replace(POLICY, allowed_service_tds=frozenset({"00" * 48}))) == ["policy.service-td"]


@pytest.mark.parametrize("fields", [{"seam_attributes": b"\x01" + bytes(7)}, {"mrsignerseam": b"\x01" + bytes(47)}])
def test_row_30_module_mismatch(kit: Kit, fields: dict[str, bytes]) -> None:
    """A TDX module with attributes or another signer is not Intel's."""
    with pytest.raises(EvidenceError) as caught:
        claims_of(kit, **fields)
    assert caught.value.code == "evidence.tdx-module"


def test_row_31_module_allow_list(kit: Kit) -> None:
    """With an MRSEAM allow-list an unlisted or blank module is refused."""
    listed = replace(POLICY, measurements={"mrseam": frozenset({kit.verify().measurements["mrseam"]})})
    assert refusals(kit.verify(), listed) == []
    assert refusals(claims_of(kit, mrseam=bytes([7]) * 48), listed) == ["policy.measurement"]
    assert refusals(claims_of(kit, mrseam=bytes(48))) == ["policy.zero-measurements"]


def test_row_32_zero_measurements(kit: Kit) -> None:
    """A blank MRTD is no measurement."""
    claims = claims_of(kit, mrtd=bytes(48))
    assert refusals(claims) == ["policy.zero-measurements"]
    assert refusals(claims, replace(POLICY, allow_zero_measurements=True)) == []


@pytest.mark.parametrize("xfam", [0x602E4, 0x602E6, 0x602E5, 0x602E7 | 1 << 40, 0x602E7 | 1 << 3])
def test_row_33_impossible_features(kit: Kit, xfam: int) -> None:
    """Features no TD can lack, and features no processor has."""
    assert refusals(claims_of(kit, xfam=xfam.to_bytes(8, "little"))) == ["policy.xfam"]


@pytest.mark.parametrize("xfam", [0x602E7, 0x618E7, 0x600E7, 0x642E7, 0x61AE7, 0x207])
def test_row_33_features_seen_in_the_field(kit: Kit, xfam: int) -> None:
    """Every combination genuine quotes show is accepted."""
    assert refusals(claims_of(kit, xfam=xfam.to_bytes(8, "little"))) == []


def test_row_34_binding(kit: Kit) -> None:
    """Zero or other report data than the expected fails the binding step and nothing else."""
    expected = bytes(range(64))
    assert examine(kit, kit.quote(), expected).result is Result.TRUSTED
    for report_data in (bytes(64), bytes(range(1, 65))):
        verdict = examine(kit, kit.quote(report_data=report_data), expected)
        assert (verdict.result, verdict.reasons) == (Result.UNTRUSTED, ("binding.report-data",))


def test_row_35_provisioning_key(kit: Kit) -> None:
    """An enclave with the provisioning key is refused by default."""
    quote = kit.quote(version=3, attributes=bytes([SGX_ATTRIBUTES[0] | 16]) + SGX_ATTRIBUTES[1:])
    claims = kit.verify(quote, kit.bundle(sgx=True))
    assert refusals(claims) == ["policy.provision-key"]
    assert refusals(claims, replace(POLICY, allow_provision_key=True)) == []


@pytest.mark.parametrize(("bit", "name"), [(1, "init"), (4, "mode64")])
def test_row_35_enclave_mode(kit: Kit, bit: int, name: str) -> None:
    """An enclave that is not initialised or not 64-bit is refused."""
    quote = kit.quote(version=3, attributes=bytes([SGX_ATTRIBUTES[0] & ~bit]) + SGX_ATTRIBUTES[1:])
    claims = kit.verify(quote, kit.bundle(sgx=True))
    assert not claims.flags[name]
    assert refusals(claims) == ["policy.enclave-mode"]


def test_row_36_quote_of_another_node(kit: Kit) -> None:
    """A genuine quote over another node's key does not answer for this node."""
    verdict = examine(kit, kit.quote(report_data=bytes([0xAA]) * 64), bytes([0xBB]) * 64)
    assert verdict.reasons == ("binding.report-data",)


def test_row_37_quotes_carry_no_time(kit: Kit) -> None:
    """An old quote with fresh collateral verifies: only a nonce in report data shows freshness."""
    old = kit.quote(report_data=bytes([1]) * 64)
    later = NOW + 20 * 86_400
    assert examine(kit, old, None, now=later).result is Result.TRUSTED
    assert examine(kit, old, bytes([2]) * 64, now=later).reasons == ("binding.report-data",)
