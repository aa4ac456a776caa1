"""TDX version 5, SGX, SEV-SNP and Nitro evidence of the simulated authority, under the production verifier."""

from __future__ import annotations

import stat
import warnings
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.evidence import Claims, TcbStatus, Tee
from attestation.policy import AppraisalPolicy
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.simulated.amd_certificates import FirmwareLevels
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.nitro import NitroFields, registers
from attestation.simulated.platform import Platform
from attestation.simulated.snp import POLICY_DEBUG, SnpPlatform
from attestation.verdict import Result
from attestation.verifier import Verifier

from .conftest import NOW

IMAGE = simulated_measurement("node")
REPORT_DATA = bytes(range(64))
CHIP = bytes(range(64, 128))


@pytest.fixture(scope="module")
def vendor(authority: Authority) -> Authority:
    """The session's authority with a Milan product, two machines and a Nitro root."""
    authority.amd.platform("milan-1", chip_id=CHIP)
    authority.amd.platform("vlek-1", masked=True)
    authority.nitro.root()
    return authority


@pytest.fixture(scope="module")
def everything(vendor: Authority) -> tuple[Verifier, Collateral]:
    """A verifier for all simulated roots, and all collateral."""
    return Verifier.with_root(*vendor.roots()), Collateral.of(*vendor.collateral(NOW))


def _claims(everything: tuple[Verifier, Collateral], evidence: bytes, now: int = NOW) -> Claims:
    verifier, collateral = everything
    return verifier.verify(evidence, collateral=collateral, now=now)


def _code(everything: tuple[Verifier, Collateral], evidence: bytes, now: int = NOW) -> str:
    with pytest.raises(AttestationError) as caught:
        _claims(everything, evidence, now)
    return caught.value.code


def _result(everything: tuple[Verifier, Collateral], evidence: bytes, policy: AppraisalPolicy) -> Result:
    verifier, collateral = everything
    return verifier.examine(evidence, collateral=collateral, now=NOW, policy=policy).result


def test_a_version_5_quote(everything: tuple[Verifier, Collateral], platform: Platform) -> None:
    """TD report 1.5: verified, trusted in development, bound to the same machine."""
    quote = platform.quote_v5(REPORT_DATA, mrtd=IMAGE)
    claims = _claims(everything, quote)
    assert (claims.tee, claims.platform_id, claims.report_data) == (Tee.TDX, platform.platform_id, REPORT_DATA)
    assert claims.measurements["mrservicetd"] == bytes(48).hex()
    assert _result(everything, quote, AppraisalPolicy.development()) is Result.TRUSTED


def test_a_service_td_is_described_and_refused(everything: tuple[Verifier, Collateral], platform: Platform) -> None:
    """A TD bound to a service TD verifies, and policy refuses it."""
    quote = platform.quote_v5(REPORT_DATA, mrtd=IMAGE, mrservicetd=b"\x01" * 48)
    assert _claims(everything, quote).flags["service_td"]
    assert _result(everything, quote, AppraisalPolicy.development()) is Result.UNTRUSTED


def test_an_sgx_quote(everything: tuple[Verifier, Collateral], platform: Platform) -> None:
    """Version 3: verified with the SGX documents, same platform id."""
    quote = platform.enclave_quote(REPORT_DATA, mrenclave=b"\x0e" * 32)
    claims = _claims(everything, quote)
    assert (claims.tee, claims.tcb_status) == (Tee.SGX, TcbStatus.UP_TO_DATE)
    assert claims.measurements["mrenclave"] == "0e" * 32
    assert claims.platform_id == platform.platform_id


def test_a_debug_enclave_is_described_and_refused(everything: tuple[Verifier, Collateral], platform: Platform) -> None:
    """The debug attribute shows in the claims and fails policy."""
    attributes = b"\x07" + bytes(7) + b"\xe7" + bytes(7)
    quote = platform.enclave_quote(REPORT_DATA, mrenclave=b"\x0e" * 32, attributes=attributes)
    assert _claims(everything, quote).flags["debug"]
    assert _result(everything, quote, AppraisalPolicy.development()) is Result.UNTRUSTED


@pytest.fixture(scope="module")
def milan(vendor: Authority) -> SnpPlatform:
    """The Milan machine."""
    return vendor.amd.platform("milan-1")


@pytest.mark.parametrize("version", [2, 3, 5])
def test_snp_reports(everything: tuple[Verifier, Collateral], milan: SnpPlatform, version: int) -> None:
    """Every report version verifies, with the chip id as platform id and the simulated label."""
    report = milan.report(REPORT_DATA, measurement=IMAGE, host_data=b"\x0d" * 32, version=version)
    claims = _claims(everything, report)
    assert (claims.tee, claims.root, claims.report_data) == (Tee.SEV_SNP, "simulated", REPORT_DATA)
    assert claims.platform_id == milan.platform_id == PlatformId(kind="amd:chipid", value=CHIP)
    assert claims.measurements["measurement"] == IMAGE.hex()
    assert claims.measurements["host_data"] == "0d" * 32


def test_snp_under_policy(everything: tuple[Verifier, Collateral], milan: SnpPlatform) -> None:
    """Trusted in development, refused in production for its root alone, refused everywhere in debug."""
    report = milan.report(REPORT_DATA, measurement=IMAGE)
    debug = milan.report(REPORT_DATA, measurement=IMAGE, policy=POLICY_DEBUG)
    assert _result(everything, report, AppraisalPolicy.development()) is Result.TRUSTED
    assert _result(everything, report, AppraisalPolicy.production()) is Result.UNTRUSTED
    assert _result(everything, debug, AppraisalPolicy.development()) is Result.UNTRUSTED


def test_snp_speaks_the_same_language_as_tdx(everything: tuple[Verifier, Collateral], milan: SnpPlatform) -> None:
    """`quote` maps the launch's measurement and configuration to SNP's fields."""
    claims = _claims(everything, milan.quote(REPORT_DATA, mrtd=IMAGE, mrconfigid=b"\x0c" * 32 + bytes(16)))
    assert claims.measurements["host_data"] == "0c" * 32


def test_a_vlek_report_has_no_platform_id(everything: tuple[Verifier, Collateral], vendor: Authority) -> None:
    """Under a VLEK the chip id is masked: attested, and absent for proof of cloud."""
    masked = vendor.amd.platform("vlek-1")
    claims = _claims(everything, masked.report(REPORT_DATA, measurement=IMAGE))
    assert claims.platform_id is None
    assert masked.platform_id is None


@pytest.mark.parametrize(
    "changes",
    [
        {"reported": FirmwareLevels(snp=23)},
        {"patches": {0x1A0: b"\x01" * 64}},
        {"patches": {0x48: b"\x04"}},
        {"patches": {0x18B: b"\x01"}},
        {"patches": {0x188: b"\x1a"}},
    ],
    ids=["other firmware", "other chip", "claims a VLEK", "reserved byte", "other product"],
)
def test_adversarial_snp_reports_are_refused(
    everything: tuple[Verifier, Collateral], milan: SnpPlatform, changes: dict[str, Any]
) -> None:
    """Validly signed, and still wrong in one place."""
    with pytest.raises(AttestationError):
        _claims(everything, milan.report(REPORT_DATA, measurement=IMAGE, **changes))


def test_a_changed_report_breaks_the_signature(everything: tuple[Verifier, Collateral], milan: SnpPlatform) -> None:
    """The signature is real."""
    report = bytearray(milan.report(REPORT_DATA, measurement=IMAGE))
    report[0x90] ^= 1
    assert _code(everything, bytes(report)) == "snp.signature"


def test_amd_certificates_hold_by_an_independent_library(vendor: Authority) -> None:
    """ARK and ASK verify with `cryptography`; the leaf has serial 0 as real ones."""
    keys = vendor.amd.product("Milan")
    keys.ask.verify_directly_issued_by(keys.ark)
    keys.asvk.verify_directly_issued_by(keys.ark)
    keys.ark.verify_directly_issued_by(keys.ark)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        leaf = x509.load_der_x509_certificate(vendor.amd.platform("milan-1").certificate)
        assert leaf.serial_number == 0
    leaf.verify_directly_issued_by(keys.ask)


def test_an_amd_machine_is_kept(vendor: Authority, milan: SnpPlatform) -> None:
    """Loading gives the same machine, and its secrets are private files."""
    again = Authority.load(vendor.directory).amd.platform("milan-1")
    assert (again.chip_id, again.seal_secret) == (milan.chip_id, milan.seal_secret)
    assert bytes(again.sealing_key(b"m", "l")) == bytes(milan.sealing_key(b"m", "l"))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (vendor.directory / "amd").rglob("*") if path.is_file()}
    assert modes == {0o600}


def test_unknown_products_and_names_are_refused(vendor: Authority) -> None:
    """Only real products, only plain names."""
    with pytest.raises(AttestationError):
        vendor.amd.product("Naples")
    with pytest.raises(AttestationError):
        vendor.amd.platform("../x")


def test_a_nitro_document(everything: tuple[Verifier, Collateral], vendor: Authority) -> None:
    """A fresh document verifies with its own chain; it has no platform id."""
    fields = NitroFields(pcrs=registers(IMAGE), user_data=b"data", nonce=b"nonce", public_key=b"key")
    document = vendor.nitro.document(fields, now=NOW)
    claims = _claims(everything, document)
    assert (claims.tee, claims.root, claims.platform_id) == (Tee.NITRO, "simulated", None)
    assert claims.measurements["pcr0"] == IMAGE.hex()
    assert claims.details["nonce"] == b"nonce".hex()
    assert _result(everything, document, AppraisalPolicy.development()) is Result.TRUSTED


def test_a_debug_nitro_document_is_refused_by_policy(
    everything: tuple[Verifier, Collateral], vendor: Authority
) -> None:
    """All-zero image registers mean debug."""
    document = vendor.nitro.document(NitroFields(pcrs=registers(bytes(48))), now=NOW)
    assert _claims(everything, document).flags["debug"]
    assert _result(everything, document, AppraisalPolicy.development()) is Result.UNTRUSTED


def test_a_nitro_document_expires(everything: tuple[Verifier, Collateral], vendor: Authority) -> None:
    """Its leaf lives three hours."""
    document = vendor.nitro.document(NitroFields(pcrs=registers(IMAGE)), now=NOW)
    assert _code(everything, document, NOW + 4 * 3600) == "certificate.expired"


def test_no_simulated_root_is_pinned_in_production(
    vendor: Authority, milan: SnpPlatform, platform: Platform, everything: tuple[Verifier, Collateral]
) -> None:
    """Row 101 for every kind: the production verifier knows none of the roots."""
    _, collateral = everything
    production = (Verifier.production(), collateral)
    document = vendor.nitro.document(NitroFields(pcrs=registers(IMAGE)), now=NOW)
    for evidence in (
        platform.quote(REPORT_DATA, mrtd=IMAGE),
        platform.quote_v5(REPORT_DATA, mrtd=IMAGE),
        platform.enclave_quote(REPORT_DATA, mrenclave=b"\x0e" * 32),
        milan.report(REPORT_DATA, measurement=IMAGE),
        document,
    ):
        assert _code(production, evidence).startswith("certificate.")


def test_kinds_are_not_confused(
    vendor: Authority, milan: SnpPlatform, platform: Platform, everything: tuple[Verifier, Collateral]
) -> None:
    """Row 102: a policy for one kind refuses genuine evidence of another."""
    only_snp = AppraisalPolicy(allowed_tees=frozenset({Tee.SEV_SNP}), allowed_roots=frozenset({"simulated"}))
    assert _result(everything, milan.report(REPORT_DATA, measurement=IMAGE), only_snp) is Result.TRUSTED
    assert _result(everything, platform.quote(REPORT_DATA, mrtd=IMAGE), only_snp) is Result.UNTRUSTED


def test_turin_has_eight_significant_bytes(tmp_path: Path) -> None:
    """A Turin machine's report, chain and platform id, under a root of its own."""
    authority = Authority.create(tmp_path / "vendor")
    machine = authority.amd.platform("turin", product="Turin", chip_id=bytes(range(1, 9)))
    verifier, collateral = Verifier.with_root(*authority.roots()), Collateral.of(*authority.collateral(NOW))
    claims = verifier.verify(machine.report(REPORT_DATA, measurement=IMAGE), collateral=collateral, now=NOW)
    assert str(claims.platform_id) == "amd:chipid:0102030405060708"


def test_genoa_and_its_relatives(tmp_path: Path) -> None:
    """A Genoa machine verifies under its own root, also with the model numbers of Bergamo and Siena."""
    authority = Authority.create(tmp_path / "vendor")
    machine = authority.amd.platform("genoa", product="Genoa", chip_id=CHIP)
    verifier, collateral = Verifier.with_root(*authority.roots()), Collateral.of(*authority.collateral(NOW))
    for model in (0x11, 0xA0):
        report = machine.report(REPORT_DATA, measurement=IMAGE, patches={0x189: bytes([model])})
        claims = verifier.verify(report, collateral=collateral, now=NOW)
        assert (claims.details["product"], claims.platform_id) == ("Genoa", machine.platform_id)
