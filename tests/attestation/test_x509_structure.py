"""No structure of a certificate or list may hold one element more than its definition, anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from attestation import der
from attestation.collateral import Collateral
from attestation.crl import parse_crl
from attestation.errors import AttestationError, CertificateError, CollateralError
from attestation.limits import BLOB_BYTES_MAX, CERTIFICATE_BYTES_MAX, CRL_ENTRIES_MAX, PEM_CHAIN_BYTES_MAX
from attestation.pem import canonical_chain, split_blocks
from attestation.roots import TrustAnchor
from attestation.simulated import certificates as ca
from attestation.simulated.der_writer import tlv
from attestation.x509 import Extension, common_name, parse_certificate
from tests.attestation.intel.kit import NOW, Kit, leaf_under

NULL = b"\x05\x00"

Path = tuple[int, ...]


@pytest.fixture(scope="module")
def kit() -> Kit:
    """One simulated vendor with one machine."""
    return Kit.create()


def children(content: bytes) -> list[tuple[int, bytes]]:
    """(tag, content) of each element."""
    found, reader = [], der.Reader(content)
    while not reader.done:
        tag = reader.peek()
        found.append((tag, reader.read(tag)))
    return found


def constructed(content: bytes, path: Path = ()) -> Iterator[Path]:
    """Paths of all constructed elements inside, outermost first."""
    for index, (tag, inner) in enumerate(children(content)):
        if tag & 0x20:
            yield (*path, index)
            yield from constructed(inner, (*path, index))


def with_null(content: bytes, path: Path) -> bytes:
    """The encoding with a NULL appended inside the element at `path`."""
    parts = []
    for index, (tag, inner) in enumerate(children(content)):
        if path[0] == index:
            inner = inner + NULL if len(path) == 1 else with_null(inner, path[1:])
        parts.append(tlv(tag, inner))
    return b"".join(parts)


SPKI = (0, 0, 6)
"""The public key's own structure is the library's to judge."""

ISSUER = (0, 0, 3)
"""The issuer's name is compared byte for byte with a subject, which is read."""


def test_certificates_hold_nothing_more(kit: Kit) -> None:
    """A NULL appended to any structure of a certificate is refused."""
    data = kit.leaf.public_bytes(Encoding.DER)
    assert parse_certificate(data)
    paths = [path for path in constructed(data) if path[:3] not in (SPKI, ISSUER)]
    assert len(paths) > 15
    for path in paths:
        with pytest.raises(CertificateError):
            parse_certificate(with_null(data, path))
    for path in (path for path in constructed(data) if path[:3] == SPKI):
        with pytest.raises(CertificateError):
            parse_certificate(with_null(data, path)).public_key()


def test_lists_hold_nothing_more(kit: Kit) -> None:
    """A NULL appended to any structure of a revocation list is refused."""
    data = ca.revocation_list(kit.platform_ca, (1, 2), issued_at=NOW)
    paths = list(constructed(data))
    assert len(paths) > 15
    for path in paths:
        with pytest.raises(CertificateError):
            parse_crl(with_null(data, path))


@pytest.mark.parametrize("extra", [NULL, b"\x00"])
def test_nothing_follows(kit: Kit, extra: bytes) -> None:
    """Bytes after the outermost structure are refused."""
    with pytest.raises(CertificateError):
        parse_certificate(kit.root.der + extra)
    with pytest.raises(CertificateError):
        parse_crl(ca.revocation_list(kit.root, (), issued_at=NOW) + extra)


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        ("2.5.29.19", "3000" + "0500"),
        ("2.5.29.19", "30060101ff0201ff"),
        ("2.5.29.19", "3003020100"),
        ("2.5.29.19", "30060101ff010100"),
        ("2.5.29.15", "030206c0" + "0500"),
        ("2.5.29.15", "030208c0"),
        ("2.5.29.15", "030100"),
        ("2.5.29.15", "030500c0000000"),
    ],
)
def test_malformed_role_extensions(kit: Kit, oid: str, value: str) -> None:
    """Basic constraints and key usage with anything odd in them refuse instead of granting or denying."""
    good = parse_certificate(kit.platform_ca.der)
    odd = replace(good, extensions={**good.extensions, oid: Extension(True, bytes.fromhex(value))})
    with pytest.raises(CertificateError):
        odd.basic_constraints() if oid == "2.5.29.19" else odd.may(5)


def test_common_names() -> None:
    """One name in a text type; none or two give no name, another type is refused."""

    def named(*values: bytes) -> bytes:
        attributes = (tlv(der.SET, tlv(der.SEQUENCE, tlv(der.OID, b"\x55\x04\x03") + value)) for value in values)
        return tlv(der.SEQUENCE, b"".join(attributes))

    text = tlv(der.UTF8_STRING, b"x")
    assert common_name(named(text)) == "x"
    assert common_name(named()) == common_name(named(text, text)) == ""
    for bad in (tlv(der.OCTET_STRING, b"x"), tlv(der.UTF8_STRING, b"\xff")):
        with pytest.raises(CertificateError):
            common_name(named(bad))


def test_other_keys_and_sizes(kit: Kit) -> None:
    """Ed25519 keys are no part of these hierarchies, and certificates have a size."""
    key = Ed25519PrivateKey.generate().public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(CertificateError):
        replace(parse_certificate(kit.root.der), spki=spki).public_key()
    with pytest.raises(CertificateError):
        parse_certificate(tlv(der.SEQUENCE, bytes(CERTIFICATE_BYTES_MAX)))


def test_endless_lists(kit: Kit) -> None:
    """A list of more entries than the limit is refused."""
    data = ca.revocation_list(kit.root, (7,), issued_at=NOW)
    serials = [number.to_bytes(4, "big") for number in range(1 << 24, (1 << 24) + CRL_ENTRIES_MAX + 1)]
    listed = b"".join(tlv(der.SEQUENCE, tlv(der.INTEGER, s) + tlv(der.UTC_TIME, b"261115000000Z")) for s in serials)
    fields = children(children(children(data)[0][1])[0][1])
    fields[5] = (der.SEQUENCE, listed)
    tbs = tlv(der.SEQUENCE, b"".join(tlv(tag, inner) for tag, inner in fields))
    rest = b"".join(tlv(tag, inner) for tag, inner in children(children(data)[0][1])[1:])
    with pytest.raises(CertificateError):
        parse_crl(tlv(der.SEQUENCE, tbs + rest))


@pytest.mark.parametrize("text", ["0300", "030101", "0302010f"])
def test_bit_strings_of_whole_octets(text: str) -> None:
    """Unused bits or no content at all are refused."""
    with pytest.raises(CertificateError):
        der.Reader(bytes.fromhex(text)).bit_string()
    assert der.Reader(bytes.fromhex("03020055")).bit_string() == b"\x55"


@pytest.mark.parametrize("text", ["0480", "0484000000017f", "04827f", "040500", "0485000000000100"])
def test_lengths(text: str) -> None:
    """Indefinite, huge, cut and padded lengths are refused."""
    with pytest.raises(CertificateError):
        der.Reader(bytes.fromhex(text)).read(der.OCTET_STRING)


def test_a_time_must_be_a_time() -> None:
    """Text of another type is no time, whatever it says."""
    with pytest.raises(CertificateError):
        der.Reader(tlv(der.UTF8_STRING, b"20261115000000Z")).time()


def test_sizes_of_files(kit: Kit) -> None:
    """Limits hold for chains, files and roots before anything is decoded."""
    with pytest.raises(CertificateError):
        canonical_chain(kit.root.pem * (PEM_CHAIN_BYTES_MAX // len(kit.root.pem) + 1))
    with pytest.raises(CertificateError):
        split_blocks(kit.root.pem + b" " * BLOB_BYTES_MAX)
    with pytest.raises(CollateralError) as caught:
        Collateral.of(kit.root.pem + b"\n" * BLOB_BYTES_MAX)
    assert caught.value.code == "collateral.too-large"
    with pytest.raises(CollateralError):
        TrustAnchor.of(kit.root.pem + b"\n" * 20_000)


def test_a_root_must_be_an_authority(kit: Kit) -> None:
    """A self-signed certificate without the CA bit anchors nothing."""
    leaf = leaf_under(kit.root, "x")
    with pytest.raises(CollateralError):
        TrustAnchor.of(leaf.der)


@pytest.mark.parametrize(
    "blob",
    [
        b'{"tcb_info":"{}","tcb_info_signature":"00","surprise":"x"}',
        b'{"pck_crl":"30 82"}',
        b'{1:{},"signature":"00"}',
    ],
)
def test_bundles_hold_nothing_more(blob: bytes) -> None:
    """Unknown members, spaced hex and keys that are no text."""
    with pytest.raises(AttestationError):
        Collateral.of(blob)


def test_an_unknown_member_spoils_a_good_bundle(kit: Kit) -> None:
    """A bundle that verifies is refused once it holds a member nobody checks."""
    value = json.loads(kit.bundle())
    assert Collateral.of(json.dumps(value).encode())
    for change in ({"second_quote": "00"}, {"tcb_info_signature": value["tcb_info_signature"] + "00"}):
        with pytest.raises(CollateralError):
            Collateral.of(json.dumps(value | change).encode())
    wrapped = b'{"tcbInfo":%b,"signature":"%b"}' % (
        value["tcb_info"].encode(),
        value["tcb_info_signature"].encode(),
    )
    assert Collateral.of(wrapped)
    for spoilt in (wrapped + b"x", wrapped[:-1] + b",}", wrapped[:-1] + b',"signature":"00"}'):
        with pytest.raises(CollateralError):
            Collateral.of(spoilt)
