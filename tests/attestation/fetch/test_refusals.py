"""Whatever a service sends in place of a genuine, current document is not stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from attestation.collateral import Collateral
from attestation.simulated.amd_certificates import new_key
from attestation.simulated.amd_certificates import revocation_list as amd_list
from attestation.simulated.authority import Authority
from attestation.simulated.certificates import revocation_list
from attestation.simulated.tcb import TcbClaims
from tests.attestation.fetch import vendor
from tests.attestation.fetch.bench import DAY, Bench
from tests.attestation.fetch.vendor import Answer, VendorService
from tests.attestation.world import NOW, World


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(body=b"x" * 100, cut=40), "fetch.truncated"),
        (Answer(body=b"<html>maintenance</html>"), "collateral.unknown-format"),
        (Answer(body=b""), "collateral.unknown-format"),
        (Answer(body=b"{" * 3000), "collateral.malformed"),
        (Answer(body=bytes(3 * 1024 * 1024)), "fetch.too-large"),
        (Answer(status=204), "fetch.not-found"),
        (Answer(body=b"slow" * 10, pause_s=0.7), "fetch.timeout"),
    ],
    ids=["cut", "html", "empty", "depth-bomb", "too-large", "no-content", "slow"],
)
def test_a_wrong_body_is_refused(bench: Bench, service: VendorService, answer: Answer, code: str) -> None:
    """Whatever is not the document counts as not there, with its own code."""
    service.only(vendor.TCB_INFO, answer)
    report = bench.fetch(service, attempts=1, timeout_s=0.6)
    assert [error.code for error in report.errors] == [code]
    assert bench.held().tcb_infos == ()


def test_a_stale_document_is_refused(bench: Bench, world: World, service: VendorService) -> None:
    """A document past its next update is not stored, and the next endpoint is asked."""
    stale = VendorService(world, now=NOW - 40 * DAY)
    try:
        assert [error.code for error in bench.fetch(stale).errors] == ["collateral.expired"]
        assert bench.fetch(stale, service).errors == []
    finally:
        stale.close()


def test_documents_of_another_vendor_are_refused(bench: Bench, tmp_path: Path, world: World) -> None:
    """The same names and dates under another root: nothing is stored."""
    stranger = Authority.create(tmp_path / "stranger")
    other = World(authority=stranger, intel=stranger.platform("m"), milan=stranger.amd.platform("m"))
    service = VendorService(other)
    try:
        assert [error.code for error in bench.fetch(service).errors] == ["collateral.crl"]
        assert [error.code for error in bench.fetch(service, evidence=world.snp()).errors] == ["certificate.root"]
    finally:
        service.close()
    assert bench.held() == Collateral()


def test_row_56_tcb_info_signed_by_another_role_is_refused(bench: Bench, world: World, service: VendorService) -> None:
    """Row 56: a chain that does not start with the TCB signer vouches for nothing."""
    (good,) = service.answers[vendor.TCB_INFO]
    chain = service.answers[vendor.PCK_CRL][0].headers["SGX-PCK-CRL-Issuer-Chain"]
    service.only(vendor.TCB_INFO, Answer(body=good.body, headers={"TCB-Info-Issuer-Chain": chain}))
    assert [error.code for error in bench.fetch(service).errors] == ["collateral.signer"]


def test_documents_without_their_chain_are_refused(bench: Bench, service: VendorService) -> None:
    """The issuer chain comes in a header; without it nothing tells the signer's role."""
    (good,) = service.answers[vendor.TCB_INFO]
    service.only(vendor.TCB_INFO, Answer(body=good.body))
    assert [error.code for error in bench.fetch(service).errors] == ["collateral.signer"]


def test_a_changed_document_is_refused(bench: Bench, service: VendorService) -> None:
    """One changed digit breaks the signature."""
    (good,) = service.answers[vendor.TCB_INFO]
    changed = good.body.replace(b'"pcesvn":13', b'"pcesvn":12')
    assert changed != good.body
    service.only(vendor.TCB_INFO, Answer(body=changed, headers=good.headers))
    assert [error.code for error in bench.fetch(service).errors] == ["collateral.signature"]


def test_tcb_info_of_another_platform_is_refused(bench: Bench, world: World, service: VendorService) -> None:
    """Genuine, but for another family: refused."""
    other = vendor.documents(world, now=NOW, claims=TcbClaims(fmspc=bytes.fromhex("00806f050000")))
    service.only(vendor.TCB_INFO, other[vendor.TCB_INFO][0])
    assert [error.code for error in bench.fetch(service).errors] == ["collateral.mismatch"]


def test_the_other_family_s_identity_is_refused(bench: Bench, service: VendorService) -> None:
    """The SGX enclave's identity on the TDX path is refused."""
    service.only(vendor.IDENTITY, service.answers["/sgx/certification/v4/qe/identity"][0])
    assert [error.code for error in bench.fetch(service).errors] == ["collateral.mismatch"]


def test_a_revoked_platform_authority_is_refused(bench: Bench, world: World, service: VendorService) -> None:
    """If the root's list names the PCK authority, its list is not taken."""
    serial = world.authority.platform_ca.certificate.serial_number
    service.only(vendor.ROOT_CRL, Answer(body=revocation_list(world.authority.root, (serial,), issued_at=NOW - 60)))
    assert [error.code for error in bench.fetch(service).errors] == ["certificate.revoked"]


def test_another_chip_s_certificate_is_refused(bench: Bench, world: World, service: VendorService) -> None:
    """A genuine VCEK of another chip on this chip's path is refused."""
    other = world.authority.amd.platform("milan-2")
    service.only(vendor.vcek_path(world), Answer(body=other.certificate))
    assert [error.code for error in bench.fetch(service, evidence=world.snp()).errors] == ["snp.chip-id"]


def test_a_list_not_signed_by_the_root_is_refused(bench: Bench, world: World, service: VendorService) -> None:
    """An AMD list under the right name and a wrong key is refused."""
    keys = world.authority.amd.product("Milan")
    service.only(vendor.AMD_CRL, Answer(body=amd_list(keys.ark, new_key(), (), issued_at=NOW - 60)))
    assert [error.code for error in bench.fetch(service, evidence=world.snp()).errors] == ["collateral.crl"]


def test_a_revoked_intermediate_is_refused(bench: Bench, world: World, service: VendorService) -> None:
    """An AMD list that names the intermediate stops the set."""
    keys = world.authority.amd.product("Milan")
    body = amd_list(keys.ark, keys.ark_key, (keys.ask.serial_number,), issued_at=NOW - 60)
    service.only(vendor.AMD_CRL, Answer(body=body))
    assert [error.code for error in bench.fetch(service, evidence=world.snp()).errors] == ["certificate.revoked"]


def test_a_chain_with_another_root_is_refused(bench: Bench, world: World, service: VendorService) -> None:
    """The answer's own root must be the trusted one, byte for byte."""
    ask = world.authority.amd.product("Milan").ask.public_bytes(Encoding.PEM)
    service.only(vendor.CHAIN, Answer(body=ask + world.authority.root.pem))
    assert [error.code for error in bench.fetch(service, evidence=world.snp()).errors] == ["certificate.root"]
