"""Untrusted collateral beside the genuine one: it cannot stop a genuine report, nor help a forged one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from attestation.collateral import Collateral
from attestation.crl import looks_like_crl
from attestation.errors import AttestationError
from attestation.policy import AppraisalPolicy
from attestation.simulated import amd_certificates
from attestation.simulated.amd_certificates import authority_certificate, leaf_certificate, revocation_list
from attestation.verdict import Result
from attestation.verifier import Verifier
from attestation.x509 import parse_certificate
from tests.attestation.world import CHIP, IMAGE, NOW, REPORT_DATA, World

DAY = 86_400


@pytest.fixture(scope="module")
def stranger() -> rsa.RSAPrivateKey:
    """A key no vendor knows."""
    return amd_certificates.new_key()


@pytest.fixture
def long_lived_leaf(world: World, stranger: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A VCEK for the same chip and firmware level that nobody at AMD signed, valid longer than the genuine one."""
    # Past 2049 a certificate writes its dates with four digits of the year.
    monkeypatch.setattr(amd_certificates, "NOT_AFTER", datetime(2051, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(amd_certificates, "_utc_time", _time)
    key = ec.generate_private_key(ec.SECP384R1())
    ask = world.authority.amd.product("Milan").ask
    return leaf_certificate(key.public_key(), ask, stranger, product="Milan", levels=world.milan.levels, chip_id=CHIP)


def _time(moment: datetime) -> bytes:
    text = moment.strftime("%Y%m%d%H%M%SZ").encode()
    return bytes([0x18, len(text)]) + text if text >= b"2050" else bytes([0x17, len(text) - 2]) + text[2:]


def refusal(verifier: Verifier, evidence: bytes, collateral: Collateral, now: int = NOW) -> str:
    """The code the report is refused with."""
    with pytest.raises(AttestationError) as caught:
        verifier.verify(evidence, collateral=collateral, now=now)
    return caught.value.code


def test_a_bogus_leaf_does_not_block(world: World, long_lived_leaf: bytes) -> None:
    """A longer-lived certificate for the same chip is tried, fails, and the genuine one verifies."""
    collateral = Collateral.of(*world.authority.collateral(NOW), long_lived_leaf)
    claims = world.verifier.verify(world.snp(), collateral=collateral, now=NOW)
    assert claims.signers["leaf"] != _spki(long_lived_leaf)
    assert claims.platform_id == world.milan.platform_id


def test_the_trace_shows_the_leaf_that_verified(world: World, long_lived_leaf: bytes) -> None:
    """Steps of a failed attempt are not in the verdict: each step appears once and passes."""
    collateral = Collateral.of(*world.authority.collateral(NOW), long_lived_leaf)
    verdict = world.verifier.examine(world.snp(), collateral=collateral, now=NOW, policy=AppraisalPolicy.development())
    numbers = [step.step for step in verdict.steps]
    assert verdict.result is Result.TRUSTED
    assert numbers[:6] == ["1", "2", "3", "4", "5", "6"]


def test_only_the_bogus_leaf(world: World, long_lived_leaf: bytes) -> None:
    """Without the genuine certificate the bogus one is refused for its signature."""
    others = [blob for blob in world.authority.collateral(NOW) if blob != world.milan.certificate]
    collateral = Collateral.of(*others, long_lived_leaf)
    assert refusal(world.verifier, world.snp(), collateral) == "certificate.signature"


def test_a_forged_report_is_told_by_the_leaf_that_got_furthest(world: World, long_lived_leaf: bytes) -> None:
    """With both certificates a report changed after signing fails at its signature, not at the bogus chain."""
    report = bytearray(world.snp())
    report[0x90] ^= 1
    collateral = Collateral.of(*world.authority.collateral(NOW), long_lived_leaf)
    assert refusal(world.verifier, bytes(report), collateral) == "snp.signature"


def test_a_bogus_intermediate_does_not_block(world: World, stranger: rsa.RSAPrivateKey) -> None:
    """Intermediates of the right name that the root did not sign are passed over, wherever they sort."""
    bogus = [
        authority_certificate("SEV-Milan", stranger.public_key(), "ARK-Milan", stranger).public_bytes(Encoding.DER)
        for _ in range(3)
    ]
    collateral = Collateral.of(*world.authority.collateral(NOW), *bogus)
    verifier = world.verifier
    assert verifier.verify(world.snp(), collateral=collateral, now=NOW).root == "simulated"
    without = [
        blob
        for blob in world.authority.collateral(NOW)
        if blob != world.authority.amd.product("Milan").ask.public_bytes(Encoding.DER)
    ]
    assert refusal(verifier, world.snp(), Collateral.of(*without, *bogus)) == "certificate.signature"


def test_a_bogus_list_does_not_block_nor_replace(world: World, stranger: rsa.RSAPrivateKey) -> None:
    """A newer list the root did not sign changes nothing; alone it refuses."""
    keys = world.authority.amd.product("Milan")
    bogus = revocation_list(keys.ark, stranger, (keys.ask.serial_number,), issued_at=NOW - 1)
    collateral = Collateral.of(*world.authority.collateral(NOW), bogus)
    assert world.verifier.verify(world.snp(), collateral=collateral, now=NOW).root == "simulated"
    genuine = [blob for blob in world.authority.collateral(NOW) if blob[:1] != b"{"]
    certificates = [blob for blob in genuine if _is_certificate(blob)]
    assert refusal(world.verifier, world.snp(), Collateral.of(*certificates, bogus)) == "certificate.signature"


def test_an_older_list_counts_until_the_newer_begins(world: World) -> None:
    """Of two genuine lists the newest not newer than `now` decides, also when the future one would revoke."""
    keys = world.authority.amd.product("Milan")
    later = revocation_list(keys.ark, keys.ark_key, (keys.ask.serial_number,), issued_at=NOW + DAY)
    collateral = Collateral.of(*world.authority.collateral(NOW), later)
    verifier = world.verifier
    assert verifier.verify(world.snp(), collateral=collateral, now=NOW).root == "simulated"
    assert refusal(verifier, world.snp(), collateral, NOW + DAY) == "certificate.revoked"


def test_an_expired_list_still_revokes(world: World) -> None:
    """A list that names the intermediate revokes it even after its own time."""
    keys = world.authority.amd.product("Milan")
    revoking = revocation_list(keys.ark, keys.ark_key, (keys.ask.serial_number,), issued_at=NOW - 60 * DAY)
    certificates = [blob for blob in world.authority.collateral(NOW) if _is_certificate(blob)]
    assert refusal(world.verifier, world.snp(), Collateral.of(*certificates, revoking)) == "certificate.revoked"


def test_remembered_chains_end_with_their_validity(world: World) -> None:
    """What was verified once is refused again after the list expires, and before it begins."""
    verifier, collateral = world.verifier, world.collateral()
    for _ in range(2):
        assert verifier.verify(world.snp(), collateral=collateral, now=NOW).root == "simulated"
    assert refusal(verifier, world.snp(), collateral, NOW + 31 * DAY) == "crl.expired"
    assert refusal(verifier, world.snp(), collateral, NOW - DAY) == "crl.not-yet-valid"


def test_remembered_chains_belong_to_their_collateral(world: World) -> None:
    """Other collateral (here: a list that revokes) is judged anew."""
    verifier = world.verifier
    verifier.verify(world.snp(), collateral=world.collateral(), now=NOW)
    keys = world.authority.amd.product("Milan")
    revoking = revocation_list(keys.ark, keys.ark_key, (keys.ask.serial_number,), issued_at=NOW - 1)
    collateral = Collateral.of(*world.authority.collateral(NOW), revoking)
    assert refusal(verifier, world.snp(), collateral) == "certificate.revoked"


def test_remembered_chains_do_not_vouch_for_other_reports(world: World) -> None:
    """After a genuine report a forged one with the same chip and levels is refused at its signature."""
    verifier, collateral = world.verifier, world.collateral()
    verifier.verify(world.snp(), collateral=collateral, now=NOW)
    forged = bytearray(world.milan.report(REPORT_DATA, measurement=IMAGE))
    forged[0x50] ^= 1
    assert refusal(verifier, bytes(forged), collateral) == "snp.signature"


def _spki(certificate: bytes) -> str:
    return parse_certificate(certificate).spki_sha256


def _is_certificate(blob: bytes) -> bool:
    return blob[:1] == b"0" and not looks_like_crl(blob)
