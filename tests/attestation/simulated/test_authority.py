"""The simulated authority's keys, certificates and collateral, checked with independent tools."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from attestation.errors import AttestationError
from attestation.simulated.authority import Authority, simulated_measurement
from attestation.simulated.certificates import MARKER_OID
from attestation.simulated.pck import COMPONENTS_OUT_OF_DATE
from attestation.simulated.platform import Platform

from .conftest import NOW


def test_a_loaded_authority_is_the_created_one(authority: Authority) -> None:
    """Loading the directory gives the same root and signers."""
    loaded = Authority.load(authority.directory)
    assert loaded.root_der == authority.root_der
    assert loaded.platform_ca.der == authority.platform_ca.der
    assert loaded.tcb_signer.der == authority.tcb_signer.der


def test_creating_twice_never_overwrites_keys(authority: Authority) -> None:
    """A second authority in the same directory is refused."""
    with pytest.raises(AttestationError) as caught:
        Authority.create(authority.directory)
    assert caught.value.code == "simulated.exists"


def test_loading_nothing_is_a_typed_error(tmp_path: Path) -> None:
    """A directory without keys says so."""
    with pytest.raises(AttestationError) as caught:
        Authority.load(tmp_path)
    assert caught.value.code == "simulated.storage"


def test_a_machine_is_kept(authority: Authority, platform: Platform) -> None:
    """Asking for a known name gives the same identifiers, keys and sealing secret."""
    again = Authority.load(authority.directory).platform("machine-1")
    assert again.platform_id == platform.platform_id
    assert again.seal_secret == platform.seal_secret
    assert again.pck == platform.pck


def test_machine_names_cannot_leave_the_directory(authority: Authority) -> None:
    """A name with a path in it is refused."""
    with pytest.raises(AttestationError) as caught:
        authority.platform("../elsewhere")
    assert caught.value.code == "simulated.name"


def test_a_chosen_ppid_is_used(authority: Authority) -> None:
    """The caller may fix the hardware identifier of a new machine."""
    assert authority.platform("chosen", ppid=b"\x07" * 16).platform_id.value == b"\x07" * 16


def test_every_key_file_is_private(authority: Authority, platform: Platform) -> None:
    """Nobody but the owner can read a key or a sealing secret."""
    files = [path for path in authority.directory.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_the_root_says_what_it_is(authority: Authority) -> None:
    """The root carries the simulated name and the marker extension."""
    root = x509.load_der_x509_certificate(authority.root_der)
    assert root.subject.rfc4514_string().startswith("O=Holdfast Simulated Authority,CN=Holdfast Simulated Root CA")
    marker = root.extensions.get_extension_for_oid(x509.ObjectIdentifier(MARKER_OID)).value
    assert isinstance(marker, x509.UnrecognizedExtension)
    assert b"development only" in marker.value


def test_the_chain_holds_by_an_independent_library(authority: Authority, platform: Platform) -> None:
    """Leaf, intermediate and signer are issued as they claim."""
    root, intermediate = authority.root.certificate, authority.platform_ca.certificate
    platform.pck.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    authority.tcb_signer.certificate.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)


def test_collateral_signatures_hold_over_the_exact_text(authority: Authority) -> None:
    """TCB info and QE identity verify with the TCB signer's key, both CRLs with their issuer's."""
    bundle = json.loads(authority.collateral(NOW)[0])
    key = authority.tcb_signer.key.public_key()
    for name in ("tcb_info", "qe_identity"):
        raw = bytes.fromhex(bundle[f"{name}_signature"])
        signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        key.verify(signature, bundle[name].encode(), ec.ECDSA(hashes.SHA256()))
    for name, issuer in (("root_ca_crl", authority.root), ("pck_crl", authority.platform_ca)):
        crl = x509.load_der_x509_crl(bytes.fromhex(bundle[name]))
        assert crl.is_signature_valid(issuer.key.public_key())
        assert crl.issuer == issuer.certificate.subject


def test_revocation_reaches_only_later_collateral(authority: Authority) -> None:
    """The CRL lists a machine's certificate from its revocation on."""
    doomed = authority.platform("doomed")
    serials = []
    for _ in range(2):
        crl = x509.load_der_x509_crl(bytes.fromhex(json.loads(authority.collateral(NOW)[0])["pck_crl"]))
        serials.append([entry.serial_number for entry in crl])
        authority.revoke_pck(doomed)
    assert doomed.pck.serial_number not in serials[0]
    assert doomed.pck.serial_number in serials[1]


def test_reissue_keeps_the_identifier(authority: Authority) -> None:
    """A TCB recovery changes the certificate and never the platform id or the sealing secret."""
    before = authority.platform("recovering")
    after = authority.reissue(before, before.facts.out_of_date())
    assert after.pck.serial_number != before.pck.serial_number
    assert after.facts.components == COMPONENTS_OUT_OF_DATE
    assert after.platform_id == before.platform_id
    assert authority.platform("recovering").pck == after.pck
    assert after.sealing_key(b"m", "l") == before.sealing_key(b"m", "l")


def test_sealing_keys_depend_on_machine_measurement_and_label(authority: Authority, platform: Platform) -> None:
    """Changing any of the three changes the key; repeating none does not."""
    keys = {
        bytes(platform.sealing_key(b"image", "state")),
        bytes(platform.sealing_key(b"other", "state")),
        bytes(platform.sealing_key(b"image", "witness")),
        bytes(authority.platform("machine-2").sealing_key(b"image", "state")),
    }
    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)
    assert platform.sealing_key(b"image", "state") == platform.sealing_key(b"image", "state")


def test_measurement_and_label_cannot_run_into_each_other(platform: Platform) -> None:
    """Moving a byte from the measurement to the label gives another key."""
    assert platform.sealing_key(b"ab", "c") != platform.sealing_key(b"a", "bc")


def test_measurements_of_different_images_differ() -> None:
    """An image's stand-in measurement has 48 bytes and depends on its name."""
    assert len(simulated_measurement("node")) == 48
    assert simulated_measurement("node") != simulated_measurement("gateway")
