"""Which documents roots vouch for: everything genuine, and nothing that misses one link."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from attestation.collateral import Collateral
from attestation.collateral_origin import vouched
from attestation.roots import Roots
from attestation.simulated import tcb
from attestation.simulated.authority import Authority
from attestation.simulated.certificates import Issuer, end_entity, new_platform_ca, revocation_list

NOW = 1_790_000_000
FAR = NOW + 20 * 365 * 86_400


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The vendor whose root is trusted."""
    return Authority.create(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another vendor with all the same names."""
    return Authority.create(tmp_path_factory.mktemp("stranger"))


def judged(authority: Authority, *blobs: bytes, now: int = NOW) -> Collateral:
    """What is left of `blobs` under the authority's root."""
    return vouched(Collateral.of(*blobs), Roots.of(authority.roots()), now)


def size(collateral: Collateral) -> int:
    """Documents in a set."""
    return sum(map(len, (collateral.tcb_infos, collateral.identities, collateral.crls, collateral.certificates)))


def bundle(authority: Authority, *names: str, **changes: Any) -> bytes:
    """Some members of the authority's bundle, changed."""
    whole = authority.bundle(NOW) | changes
    return json.dumps({name: whole[name] for name in names or whole}).encode()


def pem(*issuers: Issuer | x509.Certificate) -> str:
    """A chain as text."""
    certificates = [item.certificate if isinstance(item, Issuer) else item for item in issuers]
    return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in certificates).decode()


def info_by(signer: x509.Certificate, key: ec.EllipticCurvePrivateKey, *above: Issuer) -> bytes:
    """A TCB info signed by `key`, with the chain of `signer`."""
    made = tcb.tdx_tcb_info(key, tcb.TcbClaims(), issued_at=FAR)
    return json.dumps(
        {
            "tcb_info": made.text.decode(),
            "tcb_info_signature": made.signature.hex(),
            "tcb_info_issuer_chain": pem(signer, *above),
        }
    ).encode()


def expired(root: Issuer, signer: Issuer) -> x509.Certificate:
    """A certificate of the signer's own name and key that has run out."""
    return (
        x509.CertificateBuilder()
        .subject_name(signer.certificate.subject)
        .issuer_name(root.certificate.subject)
        .public_key(signer.key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2021, 1, 1, tzinfo=UTC))
        .sign(root.key, hashes.SHA256())
    )


def test_genuine_collateral_is_kept_as_it_is(authority: Authority) -> None:
    """Everything a vendor publishes passes, whatever its date, and the set is not rebuilt."""
    offered = Collateral.of(*authority.collateral(NOW), *authority.collateral(FAR))
    assert vouched(offered, Roots.of(authority.roots()), NOW) is offered


def test_amd_documents_are_kept(tmp_path: Path) -> None:
    """Intermediates, leaves and lists of the other vendor lead to its own root."""
    both = Authority.create(tmp_path / "both")
    both.amd.platform("host")
    offered = Collateral.of(*both.collateral(NOW))
    assert offered.certificates
    assert vouched(offered, Roots.of(both.roots()), NOW) is offered
    only_intel = vouched(offered, Roots.of([both.root_der]), NOW)
    assert not only_intel.certificates
    assert size(only_intel) == size(offered) - len(offered.certificates) - len(both.amd.roots())


def test_another_authority_counts_for_nothing(authority: Authority, stranger: Authority) -> None:
    """The same names under another root are left out, also beside genuine documents."""
    assert size(judged(authority, *stranger.collateral(FAR))) == 0
    genuine = authority.collateral(NOW)
    mixed = judged(authority, *stranger.collateral(FAR), *genuine, stranger.tcb_signer.der)
    assert mixed.digest == Collateral.of(*genuine).digest


@pytest.mark.parametrize("member", ["tcb_info", "qe_identity"])
def test_an_altered_document_is_left_out(authority: Authority, member: str) -> None:
    """The signer's genuine certificate does not vouch for what it did not sign."""
    names = (member, f"{member}_signature", f"{member}_issuer_chain")
    genuine = authority.bundle(NOW)[member]
    assert size(judged(authority, bundle(authority, *names))) == 1
    altered = genuine.replace('"issueDate":"2', '"issueDate":"3')
    assert altered != genuine
    assert size(judged(authority, bundle(authority, *names, **{member: altered}))) == 0


def test_a_list_by_another_key_is_left_out(authority: Authority, stranger: Authority) -> None:
    """A list that names the root as issuer is not thereby signed by it."""
    assert size(judged(authority, revocation_list(authority.root, (), issued_at=FAR))) == 1
    assert size(judged(authority, revocation_list(stranger.root, (), issued_at=FAR))) == 0


def test_a_list_needs_an_issuer_that_may_sign_lists(authority: Authority) -> None:
    """A certificate for signing documents signs no revocation lists."""
    data = revocation_list(authority.tcb_signer, (), issued_at=FAR)
    kept = judged(authority, data, authority.tcb_signer.der)
    assert (len(kept.crls), len(kept.certificates)) == (0, 1)


def test_a_list_travels_with_its_own_issuers_chain(authority: Authority) -> None:
    """A genuine list under another CA's chain would be refused at each use, so it must not be kept."""
    names = ("pck_crl", "pck_crl_issuer_chain")
    assert size(judged(authority, bundle(authority, *names))) == 1
    other = new_platform_ca(authority.root)
    foreign = bundle(authority, *names, pck_crl_issuer_chain=pem(other, authority.root))
    assert size(judged(authority, foreign, authority.platform_ca.der)) == 1  # the certificate alone


def test_a_list_of_an_unknown_issuer_is_left_out_until_that_is_known(authority: Authority) -> None:
    """A list without its chain counts with the issuer's certificate beside it, or held already."""
    data = revocation_list(authority.platform_ca, (), issued_at=NOW)
    assert size(judged(authority, data)) == 0
    assert size(judged(authority, data, authority.platform_ca.der)) == 2
    held = Collateral.of(authority.platform_ca.der).certificates
    assert size(vouched(Collateral.of(data), Roots.of(authority.roots()), NOW, also=held)) == 1


def test_only_the_named_signer_signs_documents(authority: Authority) -> None:
    """Another certificate of the root signs no TCB info."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = end_entity(authority.root, "Intel SGX TCB Signing", key.public_key())
    other = end_entity(authority.root, "Intel SGX Something", key.public_key())
    assert size(judged(authority, info_by(named, key, authority.root))) == 1
    assert size(judged(authority, info_by(other, key, authority.root))) == 0


def test_the_signer_is_issued_by_the_root_itself(authority: Authority) -> None:
    """A certificate called like the signer under the PCK authority is not the signer."""
    key = ec.generate_private_key(ec.SECP256R1())
    below = end_entity(authority.platform_ca, "Intel SGX TCB Signing", key.public_key())
    assert size(judged(authority, info_by(below, key, authority.platform_ca, authority.root))) == 0


def test_a_document_is_not_kept_under_an_expired_chain(authority: Authority) -> None:
    """The same signed text with a chain that no longer verifies would stand in the way of the good one."""
    old = expired(authority.root, authority.tcb_signer)
    bad = info_by(old, authority.tcb_signer.key, authority.root)
    assert size(judged(authority, bad)) == 0
    assert size(judged(authority, bad, authority.tcb_signer.der)) == 1  # the certificate alone
    good = info_by(authority.tcb_signer.certificate, authority.tcb_signer.key, authority.root)
    assert size(judged(authority, good)) == 1


def test_certificates_need_a_root(authority: Authority, stranger: Authority) -> None:
    """Certificates that lead nowhere, or to somebody else's root, are not kept."""
    for certificate in (stranger.root.der, stranger.platform_ca.der):
        assert size(judged(authority, certificate)) == 0
    leaf = end_entity(authority.platform_ca, "leaf", authority.root.key.public_key())
    der = leaf.public_bytes(serialization.Encoding.DER)
    assert size(judged(authority, der)) == 0
    assert size(judged(authority, der, authority.platform_ca.der)) == 2
    end = Issuer(certificate=authority.tcb_signer.certificate, key=authority.tcb_signer.key)
    below = end_entity(end, "below", authority.root.key.public_key()).public_bytes(serialization.Encoding.DER)
    assert size(judged(authority, below, authority.tcb_signer.der)) == 1
