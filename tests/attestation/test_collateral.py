"""Collateral sets: every file shape, equal sets, merging, and what a directory may hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from attestation.cache import WindowCache
from attestation.collateral import Collateral
from attestation.errors import AttestationError, CollateralError
from attestation.evidence import Tee
from attestation.pem import canonical_chain, encode_certificate, split_blocks
from attestation.roots import Roots, TrustAnchor
from attestation.simulated import pck
from attestation.vendor_roots import PINNED
from attestation.verifier import Verifier
from tests.attestation.intel.kit import DAY, NOW, Kit, put, self_signed, stamp, top_status


@pytest.fixture(scope="module")
def kit() -> Kit:
    """One simulated vendor with one machine."""
    return Kit.create()


def parts(kit: Kit) -> list[bytes]:
    """The bundle as single vendor documents."""
    value = json.loads(kit.bundle())
    wrap = '{{"{}":{},"signature":"{}"}}'.format
    return [
        wrap("tcbInfo", value["tcb_info"], value["tcb_info_signature"]).encode(),
        wrap("enclaveIdentity", value["qe_identity"], value["qe_identity_signature"]).encode(),
        bytes.fromhex(value["root_ca_crl"]),
        bytes.fromhex(value["pck_crl"]),
        kit.tcb_signer.der,
    ]


def test_single_documents_verify_like_a_bundle(kit: Kit) -> None:
    """Five blobs in any order are one set and verify the quote."""
    blobs = parts(kit)
    forwards, backwards = Collateral.of(*blobs), Collateral.of(*reversed(blobs))
    assert forwards.digest == backwards.digest
    claims = Verifier.with_root(kit.root.der).verify(kit.quote(), collateral=forwards, now=NOW)
    assert claims.tcb_status == "UpToDate"


def test_round_trip(kit: Kit) -> None:
    """Blobs read back to an equal set, with and without issuer chains; repetition changes nothing."""
    for blobs in ([kit.bundle()], parts(kit), [*parts(kit), kit.bundle()]):
        collateral = Collateral.of(*blobs)
        assert Collateral.of(*collateral.blobs()) == collateral
        assert Collateral.of(*blobs, *blobs).digest == collateral.digest


def test_white_space_around_signed_text_is_not_part_of_it(kit: Kit) -> None:
    """The vendor's wrapping may be pretty-printed; the signed text inside stays as it is."""
    value = json.loads(kit.bundle())
    loose = f' {{ "signature" : "{value["tcb_info_signature"]}" ,\n"tcbInfo" : {value["tcb_info"]} }} '
    (item,) = Collateral.of(loose.encode()).tcb_infos
    assert item.body.decode() == value["tcb_info"]


@pytest.mark.parametrize(
    "blob",
    [
        b'{"tcbInfo":{},"signature":"00","signature":"00"}',
        b'{"tcbInfo":{},"signature":"00",}',
        b'{"tcbInfo":{} "signature":"00"}',
        b'{"tcbInfo":{},"signature":"00"} x',
        b'{"tcbInfo":{},"signature":"zz"}',
        b'{"tcbInfo":{},"signature":"' + b"00" * 63 + b'"}',
        b'{"pck_crl":"30"}',
        b'{"tcb_info_issuer_chain":"x","tcb_info":"{}"}',
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\nhello",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"0\x82\xff\xff",
        b"0x00",
        b"plain text",
    ],
)
def test_malformed_files(blob: bytes) -> None:
    """Each is a typed refusal."""
    with pytest.raises(CollateralError):
        Collateral.of(blob)


def test_merging_keeps_the_newest(kit: Kit) -> None:
    """Per kind one document survives, the newest; platforms and names do not displace each other."""
    old, new = kit.bundle(issued=NOW - 3 * DAY, info=put(issueDate=stamp(NOW - 3 * DAY))), kit.bundle()
    other = kit.bundle(info=put(fmspc="00906ED50000"))
    merged = Collateral.of(old).merged(Collateral.of(new)).merged(Collateral.of(other))
    assert {item.info.fmspc for item in merged.tcb_infos} == {pck.FMSPC, bytes.fromhex("00906ED50000")}
    mine = next(item for item in merged.tcb_infos if item.info.fmspc == pck.FMSPC)
    assert mine.info.issued == NOW - DAY
    assert len(merged.crls) == 2
    assert all(item.crl.this_update == NOW - DAY for item in merged.crls)


def test_choice_by_time(kit: Kit) -> None:
    """The newest document not after `now`; a later one is announced, a future-only one is returned to be dated."""
    early = kit.bundle(info=put(issueDate=stamp(NOW - 9 * DAY)))
    collateral = Collateral.of(early, kit.bundle())
    item, changes = collateral.tcb_info_for(Tee.TDX, pck.FMSPC, NOW - 2 * DAY)
    assert item is not None
    assert (item.info.issued, changes) == (NOW - 9 * DAY, NOW - DAY)
    item, changes = collateral.tcb_info_for(Tee.TDX, pck.FMSPC, NOW - 20 * DAY)
    assert item is not None
    assert (item.info.issued, changes) == (NOW - 9 * DAY, None)
    assert collateral.tcb_info_for(Tee.SGX, pck.FMSPC, NOW) == (None, None)


def test_a_verifier_with_held_collateral(kit: Kit) -> None:
    """Held collateral suffices alone; an older set handed in never displaces it, a newer one does."""
    held = Collateral.of(kit.bundle(info=top_status("SWHardeningNeeded")))
    verifier = Verifier(Roots.of([kit.root.der]), held)
    assert verifier.verify(kit.quote(), now=NOW).tcb_status == "SWHardeningNeeded"
    older = Collateral.of(kit.bundle(info=put(issueDate=stamp(NOW - 9 * DAY))))
    assert verifier.verify(kit.quote(), collateral=older, now=NOW).tcb_status == "SWHardeningNeeded"
    newer = Collateral.of(kit.bundle(info=put(issueDate=stamp(NOW))))
    assert verifier.verify(kit.quote(), collateral=newer, now=NOW).tcb_status == "UpToDate"


def test_directories(kit: Kit, tmp_path: Path) -> None:
    """A directory gives its recognisable files; a damaged one among them is named, a stranger is passed over."""
    (tmp_path / "a.json").write_bytes(kit.bundle())
    (tmp_path / "b.json").write_text("{}")
    assert Collateral.load([tmp_path]).digest == Collateral.load([tmp_path / "a.json"]).digest
    with pytest.raises(CollateralError):
        Collateral.load([tmp_path / "b.json"])
    (tmp_path / "c.json").write_text('{"tcb_info": "{}"}')
    with pytest.raises(CollateralError, match=r"c\.json"):
        Collateral.load([tmp_path])
    with pytest.raises(CollateralError):
        Collateral.load([tmp_path / "missing"])


def test_the_answer_is_not_remembered_too_long(kit: Kit) -> None:
    """A cached answer ends with what it rests on, and other collateral is another question."""
    verifier = Verifier.with_root(kit.root.der)
    quote, collateral = kit.quote(), Collateral.of(kit.bundle())
    end = verifier.verify(quote, collateral=collateral, now=NOW).valid_until
    verifier.verify(quote, collateral=collateral, now=end)
    with pytest.raises(AttestationError):
        verifier.verify(quote, collateral=collateral, now=end + 1)
    revoked = Collateral.of(kit.bundle(revoked=(kit.leaf.serial_number,)))
    with pytest.raises(AttestationError):
        verifier.verify(quote, collateral=revoked, now=NOW)
    assert verifier.verify(quote, collateral=collateral, now=NOW).tcb_status == "UpToDate"


def test_a_remembered_key_does_not_vouch_for_another_machine(kit: Kit) -> None:
    """After a genuine quote its QE report under another PCK certificate is still refused."""
    verifier = Verifier.with_root(kit.root.der)
    collateral = Collateral.of(kit.bundle())
    verifier.verify(kit.quote(), collateral=collateral, now=NOW)
    other = Kit.create()
    leaf = pck.pck_certificate(kit.platform_ca, other.pck_key.public_key(), kit.facts)
    chain = encode_certificate(leaf.public_bytes(Encoding.DER)) + kit.platform_ca.pem + kit.root.pem
    with pytest.raises(AttestationError) as caught:
        verifier.verify(kit.quote(chain=chain), collateral=collateral, now=NOW)
    assert caught.value.code == "evidence.qe-signature"


def test_window_cache() -> None:
    """Bounded, least recently used first out, silent outside the window."""
    cache: WindowCache[int] = WindowCache(2)
    cache.put("a", 1, valid_from=10, valid_until=20)
    assert (cache.get("a", 9), cache.get("a", 10), cache.get("a", 20), cache.get("a", 21)) == (None, 1, 1, None)
    cache.put("b", 2, valid_from=0, valid_until=99)
    cache.get("a", 15)
    cache.put("c", 3, valid_from=0, valid_until=99)
    assert (cache.get("a", 15), cache.get("b", 15), len(cache)) == (1, None, 2)


def test_roots(kit: Kit) -> None:
    """Pinned roots keep the vendor's label, others never get it; a leaf or two certificates are no root."""
    production = Roots.production()
    assert [anchor.label for anchor in production.anchors] == [pinned.vendor for pinned in PINNED]
    assert [anchor.sha256 for anchor in production.anchors] == [pinned.sha256 for pinned in PINNED]
    intel = production.of_vendor("intel")[0]
    assert TrustAnchor.of(encode_certificate(intel.der)).label == "intel"
    assert TrustAnchor.of(kit.root.der).label == "simulated"
    with pytest.raises(CollateralError):
        Roots.of([])
    for bad in (kit.tcb_signer.der, kit.root.pem * 2, b"", b"0", kit.platform_ca.der):
        with pytest.raises(CollateralError):
            Roots.of([bad])


def test_a_namesake_of_the_vendor_root_is_custom() -> None:
    """The label comes from the bytes, not from the name."""
    assert TrustAnchor.of(self_signed("Intel SGX Root CA").der).label == "custom"


def test_pem(kit: Kit) -> None:
    """Strict chains round-trip; files may hold other white space and CRLs, but no text."""
    text = kit.platform_ca.pem + kit.root.pem
    assert canonical_chain(text) == [kit.platform_ca.der, kit.root.der]
    assert split_blocks(text.replace(b"\n", b"\r\n") + b"\n\n") == [
        ("CERTIFICATE", kit.platform_ca.der),
        ("CERTIFICATE", kit.root.der),
    ]
    for bad in (b"x" + text, text + b"x", text.replace(b"END", b"DNE")):
        with pytest.raises(AttestationError):
            split_blocks(bad)
