"""Genuine and synthetic SEV-SNP reports: every one gets the verdict its manifest states."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from attestation.amd.verify import SnpVerifier
from attestation.collateral import Collateral
from attestation.crl import RevocationList, parse_crl
from attestation.errors import AttestationError
from attestation.evidence import Claims
from attestation.roots import Roots
from attestation.verdict import Trace
from attestation.x509 import Certificate, parse_certificate
from tests.attestation import shared_vectors as shared

pytestmark = shared.NEEDED

REAL = shared.entries("snp-report")
SYNTHETIC = shared.synthetic("snp")["cases"]
NOW = shared.unix("2026-07-15T00:00:00Z")
NOW_VLEK = shared.unix("2025-06-01T00:00:00Z")

# What each synthetic case must be refused with; absent: it verifies, and policy or binding decides.
REFUSED = {
    "ok-turin-v5": "snp.product",
    "policy-rsvd17-clear": "snp.policy",
    "policy-mbz-26": "snp.policy",
    "policy-abi-high": "snp.policy",
    "plat-smt-vs-policy": "snp.inconsistent",
    "vmpl-host": "snp.vmpl",
    "alg0": "snp.algorithm",
    "alg2": "snp.algorithm",
    "version1": "snp.version",
    "version4": "snp.version",
    "version99": "snp.version",
    "long": "snp.length",
    "trunc": "snp.length",
    "key-none": "snp.signing-key",
    "key-vlek-but-vcek": "snp.signing-key",
    "key-vcek-but-vlek": "snp.signing-key",
    "vlek-under-ask": "snp.product",
    "hwid-mismatch": "snp.chip-id",
    "hwid-missing": "snp.leaf",
    "hwid-turin-on-milan": "snp.chip-id",
    "tcb-bl-mismatch": "snp.tcb",
    "tcb-tee-mismatch": "snp.tcb",
    "tcb-snp-mismatch": "snp.tcb",
    "tcb-ucode-mismatch": "snp.tcb",
    "tcb-missing-ucode": "snp.leaf",
    "tcb-turin-layout-on-milan": "snp.tcb",
    "tcb-reported-gt-current": "snp.inconsistent",
    "tcb-committed-gt-current": "snp.inconsistent",
    "reserved-nonzero": "snp.reserved",
    "reserved-tail": "snp.reserved",
    "sig-reserved": "snp.reserved",
    "sig-r-overlong": "snp.signature-format",
    "sig-flip": "snp.signature",
    "sig-bigendian": "snp.signature",
    "sig-rs-zero": "snp.signature",
    "ask-genoa": "certificate.root",
    "chain-short": "collateral.missing",
    "evil-vcek": "certificate.signature",
    "vcek-expired": "certificate.expired",
    "vcek-future": "certificate.not-yet-valid",
    "ask-revoked": "certificate.revoked",
    "crl-expired": "crl.expired",
}


def verify_snp(
    evidence: bytes, certificates: Sequence[Certificate], lists: Sequence[RevocationList], *, roots: Roots, now: int
) -> Claims:
    """Verify with a fresh verifier, so that nothing remembered takes part."""
    collateral = collateral_of((*(item.der for item in certificates), *(item.der for item in lists)))
    return SnpVerifier(roots)(evidence, collateral=collateral, now=now, trace=Trace())


@cache
def collateral_of(blobs: tuple[bytes, ...]) -> Collateral:
    """DER items as a collateral set."""
    return Collateral.of(*blobs)


@cache
def genuine_certificates() -> tuple[Certificate, ...]:
    """Every AMD certificate of the shared folder."""
    folder = shared.ROOT / "amd"
    return tuple(parse_certificate(path.read_bytes()) for path in sorted(folder.rglob("*.der")))


def verify_real(entry: dict[str, Any], certificates: tuple[Certificate, ...] | None = None) -> Claims:
    """Verify one genuine report inside its certificate's validity."""
    now = NOW_VLEK if "vlek" in entry["id"] else NOW
    chosen = genuine_certificates() if certificates is None else certificates
    return verify_snp(shared.read(entry["file"]), chosen, (), roots=Roots.production(), now=now)


def verify_case(case: dict[str, Any]) -> Claims:
    """Verify one synthetic case under its own root."""
    roots = Roots.of([shared.read(shared.synthetic("snp")["root"])])
    chain = shared.pem_certificates(shared.read(case["chain"]).decode()) if case.get("chain") else []
    lists = [parse_crl(shared.read(case["crl"]))] if case.get("crl") else []
    return verify_snp(
        shared.read(case["report"]),
        [parse_certificate(der) for der in chain],
        lists,
        roots=roots,
        now=shared.unix(case.get("now") or "2026-11-15T00:00:00Z"),
    )


@pytest.mark.parametrize("entry", REAL, ids=lambda entry: entry["id"])
def test_genuine_report(entry: dict[str, Any]) -> None:
    """A genuine report verifies, or says that its certificate is not at hand, as the manifest states."""
    if "VCEK not in set" in entry["expected_verdict"]:
        with pytest.raises(AttestationError) as caught:
            verify_real(entry)
        assert caught.value.code == "collateral.missing"
        return
    claims = verify_real(entry)
    assert claims.flags["debug"] is ("debug" in entry["expected_verdict"])
    assert claims.root == "amd"
    masked = "vlek" in entry["id"]
    assert (claims.platform_id is None) is masked
    if not masked and claims.platform_id is not None:
        assert entry["chip_id"].startswith(claims.platform_id.value.hex())


@pytest.mark.parametrize("case", SYNTHETIC, ids=lambda case: case["id"])
def test_synthetic_report(case: dict[str, Any]) -> None:
    """Rows 63 to 80: each synthetic case is refused with its own code, or verifies for policy to judge."""
    expected = REFUSED.get(case["id"])
    if expected is None:
        assert not case["expected"].startswith("reject") or case["id"] in {"policy-debug", "mask-chip-key"}
        claims = verify_case(case)
        assert claims.root == "custom"
        return
    with pytest.raises(AttestationError) as caught:
        verify_case(case)
    assert caught.value.code == expected


@pytest.mark.skipif(not any(case["id"] == "policy-debug" for case in SYNTHETIC), reason="cases not here")
def test_synthetic_facts_for_policy() -> None:
    """Rows 63, 64, 67, 68, 71: what verifies but policy may refuse is stated in flags and details."""
    cases = {case["id"]: verify_case(case) for case in SYNTHETIC if case["id"] not in REFUSED}
    assert cases["policy-debug"].flags["debug"]
    assert cases["policy-migrate-ma"].flags["migratable"]
    assert cases["plat-tsme"].flags["tsme"]
    assert not cases["plat-ecc-off"].flags["ecc"]
    assert cases["vmpl3"].details["vmpl"] == 3
    assert cases["mask-chip-key"].platform_id is None
    assert cases["ok-vlek"].platform_id is None
    assert not any(cases["reportdata-zero"].report_data)


def test_row_77_malleated_signature_keeps_the_evidence_id() -> None:
    """Row 77: (r, n - s) verifies too, and the evidence id stays the same."""
    cases = {case["id"]: case for case in SYNTHETIC}
    if "sig-malleable" not in cases:
        pytest.skip("case not here")
    report = bytearray(shared.read(cases["sig-malleable"]["report"]))
    order = int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)
    s = int.from_bytes(report[0x2E8:0x318], "little")
    one = verify_case(cases["sig-malleable"])
    report[0x2E8:0x318] = (order - s).to_bytes(48, "little")
    roots = Roots.of([shared.read(shared.synthetic("snp")["root"])])
    chain = shared.pem_certificates(shared.read(cases["sig-malleable"]["chain"]).decode())
    other = verify_snp(
        bytes(report),
        [parse_certificate(der) for der in chain],
        (),
        roots=roots,
        now=shared.unix("2026-11-15T00:00:00Z"),
    )
    assert one.evidence_id == other.evidence_id


def test_row_81_certificate_of_another_chip() -> None:
    """Row 81: with only another chip's certificate at hand the report is refused."""
    entry = next(item for item in REAL if item["id"].startswith("snp-milan-v3-vcek-lunal"))
    mine = verify_real(entry)
    others = tuple(
        item
        for item in genuine_certificates()
        if item.common_name != "SEV-VCEK" or item.spki_sha256 != mine.signers["leaf"]
    )
    foreign = next(item for item in others if item.common_name == "SEV-VCEK")
    rest = tuple(item for item in others if item.common_name != "SEV-VCEK")
    with pytest.raises(AttestationError) as caught:
        verify_real(entry, (*rest, foreign))
    assert caught.value.code in {"snp.chip-id", "snp.product", "certificate.root", "certificate.signature"}


def test_row_81_reissued_certificate_of_the_same_key() -> None:
    """Row 81: two certificates of one key verify the same report."""
    by_key: dict[str, list[Certificate]] = {}
    for item in genuine_certificates():
        if item.common_name == "SEV-VCEK":
            by_key.setdefault(item.spki_sha256, []).append(item)
    twins = {key: found for key, found in by_key.items() if len(found) > 1}
    rest = tuple(item for item in genuine_certificates() if item.common_name != "SEV-VCEK")
    checked = 0
    for entry in REAL:
        if "VCEK not in set" in entry["expected_verdict"] or "vlek" in entry["id"]:
            continue
        leaf = verify_real(entry).signers["leaf"]
        for certificate in twins.get(leaf, []):
            assert verify_real(entry, (*rest, certificate)).signers["leaf"] == leaf
            checked += 1
    if not twins:
        pytest.skip("no re-issued certificate in this folder")
    assert checked or twins


@pytest.mark.parametrize("entry", shared.entries("amd-vcek"), ids=lambda entry: entry["id"])
def test_row_82_certificates_outside_the_amd_hierarchy(entry: dict[str, Any]) -> None:
    """Row 82: a certificate that does not chain to AMD never verifies anything."""
    if entry["expected_verdict"] != "reject":
        return
    leaf = parse_certificate(shared.read(entry["file"]))
    report = bytearray(shared.read(REAL[0]["file"]))
    rest = tuple(item for item in genuine_certificates() if item.common_name != "SEV-VCEK")
    with pytest.raises(AttestationError):
        verify_snp(bytes(report), (*rest, leaf), (), roots=Roots.production(), now=NOW)


def test_every_truncation_and_many_flips_raise_only_our_errors() -> None:
    """A cut or changed report raises a typed error; a change in the signed region never verifies."""
    entry = next(item for item in REAL if item["id"].startswith("snp-milan-v3-vcek-lunal"))
    report = shared.read(entry["file"])
    certificates = genuine_certificates()
    for size in range(0, len(report), 7):
        with pytest.raises(AttestationError):
            verify_snp(report[:size], certificates, (), roots=Roots.production(), now=NOW)
    for position in range(0, len(report), 5):
        changed = bytearray(report)
        changed[position] ^= 1 << position % 8
        with pytest.raises(AttestationError):
            verify_snp(bytes(changed), certificates, (), roots=Roots.production(), now=NOW)
