"""Certificates and lists read by our parser agree with an independent library, and its refusals are typed."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attestation import x509
from attestation.crl import looks_like_crl, parse_crl
from attestation.errors import CertificateError
from attestation.roots import Roots
from attestation.simulated import certificates as ca
from attestation.simulated.certificates import Issuer
from tests.attestation import shared_vectors as shared
from tests.attestation.intel import kit as kits
from tests.attestation.intel.kit import DAY, NOW, Kit


@pytest.fixture(scope="module")
def kit() -> Kit:
    """One simulated vendor with one machine."""
    return Kit.create()


def agree(data: bytes) -> None:
    """Our reading of a certificate equals the library's."""
    mine, theirs = x509.parse_certificate(data), library.load_der_x509_certificate(data)
    assert mine.serial == theirs.serial_number
    assert mine.tbs == theirs.tbs_certificate_bytes
    assert mine.signature == theirs.signature
    assert mine.issuer == theirs.issuer.public_bytes()
    assert mine.subject == theirs.subject.public_bytes()
    assert mine.not_before == theirs.not_valid_before_utc.astimezone(UTC).timestamp()
    assert mine.not_after == theirs.not_valid_after_utc.astimezone(UTC).timestamp()
    assert mine.spki == theirs.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert {oid: e.critical for oid, e in mine.extensions.items()} == {
        e.oid.dotted_string: e.critical for e in theirs.extensions
    }
    for extension in theirs.extensions:
        if isinstance(extension.value, library.BasicConstraints):
            assert mine.basic_constraints() == (extension.value.ca, extension.value.path_length)
        if isinstance(extension.value, library.KeyUsage):
            assert mine.may(x509.KEY_CERT_SIGN) == extension.value.key_cert_sign
            assert mine.may(x509.CRL_SIGN) == extension.value.crl_sign


def test_own_and_pinned_certificates_agree_with_the_library(kit: Kit) -> None:
    """Every field of the kit's certificates and of all pinned roots."""
    for data in (kit.root.der, kit.platform_ca.der, kit.tcb_signer.der, kit.leaf.public_bytes(Encoding.DER)):
        agree(data)
    for anchor in Roots.production().anchors:
        agree(anchor.der)


@shared.NEEDED
def test_genuine_certificates_agree_with_the_library() -> None:
    """Every field of every Intel and AMD authority certificate in the shared folder."""
    for entry in shared.entries("x509-cert"):
        agree(shared.read(entry["file"]))


@shared.NEEDED
def test_genuine_lists_agree_with_the_library() -> None:
    """Dates, issuer and serial numbers of every list in the shared folder."""
    for entry in shared.entries("x509-crl"):
        data = shared.read(entry["file"])
        mine, theirs = parse_crl(data), library.load_der_x509_crl(data)
        assert mine.tbs == theirs.tbs_certlist_bytes
        assert mine.serials == {revoked.serial_number for revoked in theirs}
        assert theirs.next_update_utc is not None
        assert mine.this_update == theirs.last_update_utc.timestamp()
        assert mine.next_update == theirs.next_update_utc.timestamp()
        assert looks_like_crl(data)


def test_lists_agree_with_the_library(kit: Kit) -> None:
    """A list with entries and one without."""
    for serials in ((), (1, 2, 1 << 150)):
        data = ca.revocation_list(kit.platform_ca, serials, issued_at=NOW)
        assert parse_crl(data).serials == frozenset(serials)
        library.load_der_x509_crl(data)
    assert not looks_like_crl(kit.root.der)


def link(kit: Kit, certificate: Issuer, issuer: Issuer, **options: Any) -> None:
    """Check one link."""
    parent = x509.parse_certificate(issuer.der)
    x509.check_issued(
        x509.parse_certificate(certificate.der), parent, parent.public_key(), **({"cas_below": 0, "now": NOW} | options)
    )


def test_a_proper_link(kit: Kit) -> None:
    """Intermediate under root, leaf under intermediate."""
    link(kit, kit.platform_ca, kit.root, cas_below=1)
    link(kit, kits.leaf_under(kit.platform_ca, "leaf"), kit.platform_ca)


def test_path_length(kit: Kit) -> None:
    """An authority of path length 0 has no authority below it."""
    with pytest.raises(CertificateError) as caught:
        link(kit, kits.intermediate(kit.platform_ca, "deeper"), kit.platform_ca, cas_below=1)
    assert caught.value.code == "certificate.issuer"


@pytest.mark.parametrize(
    ("now", "code"),
    [(NOW - 101 * DAY, "certificate.not-yet-valid"), (NOW + 3651 * DAY, "certificate.expired")],
)
def test_validity(kit: Kit, now: int, code: str) -> None:
    """Outside its window a certificate is refused."""
    with pytest.raises(CertificateError) as caught:
        link(kit, kits.leaf_under(kit.root, "leaf"), kit.root, now=now)
    assert caught.value.code == code


def test_wrong_names_keys_and_roles(kit: Kit) -> None:
    """Another name, another key, and an issuer without key usage."""
    leaf = kits.leaf_under(kit.platform_ca, "leaf")
    with pytest.raises(CertificateError) as caught:
        link(kit, leaf, kit.processor_ca)
    assert caught.value.code == "certificate.issuer"
    namesake = kits.intermediate(kit.root, ca.PLATFORM_CA_NAME)
    with pytest.raises(CertificateError) as caught:
        link(kit, leaf, namesake)
    assert caught.value.code == "certificate.signature"
    key = ec.generate_private_key(ec.SECP256R1())
    weak = Issuer(certificate=kits.certify(kit.root, "weak", key, ca_path=0, signs_certificates=False), key=key)
    with pytest.raises(CertificateError) as caught:
        link(kit, kits.leaf_under(weak, "leaf"), weak)
    assert caught.value.code == "certificate.issuer"


def test_unknown_critical_extension(kit: Kit) -> None:
    """What is marked critical and not understood refuses; the same extension not critical does not."""
    for critical in (True, False):
        leaf = kits.leaf_under(kit.root, "leaf", extension=b"\x05\x00", critical=critical)
        parsed = x509.parse_certificate(leaf.der)
        if not critical:
            x509.check_critical_extensions(parsed)
            continue
        with pytest.raises(CertificateError):
            x509.check_critical_extensions(parsed)
        x509.check_critical_extensions(parsed, frozenset({kits.pck.SGX_EXTENSION}))


def test_algorithm_must_fit_the_key() -> None:
    """ECDSA with SHA-256 goes with P-256, with SHA-384 with P-384, and nothing else."""
    message = b"message"
    p256, p384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    x509.verify_signature(p256.public_key(), x509.ECDSA_SHA256, p256.sign(message, ec.ECDSA(hashes.SHA256())), message)
    x509.verify_signature(p384.public_key(), x509.ECDSA_SHA384, p384.sign(message, ec.ECDSA(hashes.SHA384())), message)
    for key, algorithm, digest in (
        (p384, x509.ECDSA_SHA256, hashes.SHA256()),
        (p256, x509.ECDSA_SHA384, hashes.SHA384()),
        (p256, next(iter(x509.RSA_PSS_SHA384)), hashes.SHA256()),
        (p256, b"", hashes.SHA256()),
    ):
        with pytest.raises(CertificateError):
            x509.verify_signature(key.public_key(), algorithm, key.sign(message, ec.ECDSA(digest)), message)


def test_rsa_is_only_accepted_with_pss() -> None:
    """An RSA key with an ECDSA algorithm is refused."""
    key = rsa.generate_private_key(65537, 2048)
    with pytest.raises(CertificateError):
        x509.verify_signature(key.public_key(), x509.ECDSA_SHA256, bytes(256), b"")


def test_algorithm_inside_and_outside(kit: Kit) -> None:
    """The two copies of the signature algorithm must be equal."""
    data = kit.root.der
    first = data.index(x509.ECDSA_SHA256)
    second = data.index(x509.ECDSA_SHA256, first + 1)
    for offset in (first, second):
        changed = bytearray(data)
        changed[offset + 11] = 3
        with pytest.raises(CertificateError):
            x509.parse_certificate(bytes(changed))


def test_repeated_extension(kit: Kit) -> None:
    """No extension may come twice: readers would differ on which counts."""
    assert len(x509.parse_certificate(kit.root.der).extensions) == 5
    data = kit.root.der
    skid = bytes.fromhex("0603551d0e")
    assert data.count(skid) == 1
    twice = data.replace(skid, bytes.fromhex("0603551d0f"))
    with pytest.raises(CertificateError) as caught:
        x509.parse_certificate(twice)
    assert "twice" in caught.value.detail
