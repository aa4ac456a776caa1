"""Genuine and synthetic Nitro documents: every one gets the verdict its manifest states."""

from __future__ import annotations

from typing import Any

import pytest

from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.evidence import Claims
from attestation.nitro.document import NitroDocument
from attestation.nitro.verify import NitroVerifier
from attestation.roots import Roots
from attestation.verdict import Trace
from tests.attestation import shared_vectors as shared

pytestmark = shared.NEEDED

REAL = shared.entries("nitro-document")
SYNTHETIC = shared.synthetic("nitro")["cases"]

REFUSED = {
    "trailing": "cbor.trailing",
    "payload-trailing": "cbor.trailing",
    "dup-key": "cbor.duplicate-key",
    "deep": "cbor.too-deep",
    "truncated": "cbor.truncated",
    "empty": "cbor.truncated",
    "arr3": "nitro.cose",
    "arr5": "nitro.cose",
    "payload-null": "nitro.cose",
    "alg-es256": "nitro.algorithm",
    "alg-missing": "nitro.algorithm",
    "alg-empty": "nitro.algorithm",
    "alg-unprotected": "nitro.algorithm",
    "crit": "nitro.algorithm",
    "unprot-junk": "nitro.algorithm",
    "sig-flip": "nitro.signature",
    "sig-95": "nitro.signature-format",
    "sig-der": "nitro.signature-format",
    "sig-otherkey": "nitro.signature",
    "selfsigned": "certificate.root",
    "evil-root": "certificate.root",
    "cabundle-null": "nitro.ca-bundle",
    "cabundle-empty": "nitro.ca-bundle",
    "cabundle-reversed": "certificate.root",
    "cabundle-missing": "nitro.fields",
    "cabundle-64": "nitro.too-large",
    "leaf-under-leaf": "certificate.issuer",
    "pathlen": "certificate.issuer",
    "leaf-ca": "certificate.issuer",
    "leaf-expired": "certificate.expired",
    "leaf-future": "certificate.not-yet-valid",
    "digest-sha256": "nitro.digest",
    "pcr-32": "nitro.pcrs",
    "pcr-empty": "nitro.pcrs",
    "pcr-idx32": "nitro.pcrs",
    "pcr-missing0": "nitro.pcrs",
    "pcr-strkey": "nitro.pcrs",
    "module-empty": "nitro.fields",
    "missing-cert": "nitro.fields",
    "extra-field": "nitro.fields",
    "ts-old": "nitro.timestamp",
    "ts-seconds": "nitro.timestamp",
    "ts-neg": "nitro.timestamp",
}


def verify_nitro(evidence: bytes, *, roots: Roots, now: int) -> Claims:
    """Verify with a fresh verifier, so that nothing remembered takes part."""
    return NitroVerifier(roots)(evidence, collateral=Collateral(), now=now, trace=Trace())


def verify_case(case: dict[str, Any]) -> Claims:
    """Verify one synthetic case under its own root."""
    roots = Roots.of([shared.read(shared.synthetic("nitro")["root"])])
    return verify_nitro(shared.read(case["doc"]), roots=roots, now=case["now"])


@pytest.mark.parametrize("entry", REAL, ids=lambda entry: entry["id"])
def test_genuine_document(entry: dict[str, Any]) -> None:
    """A genuine document verifies at its stated time; rows 83 and 87: debug is told, self-signed is refused."""
    if entry["expected_verdict"].startswith("reject"):
        with pytest.raises(AttestationError):
            verify_nitro(shared.read(entry["file"]), roots=Roots.production(), now=1_700_000_000)
        return
    now = shared.unix(entry["verification"]["now_used"])
    claims = verify_nitro(shared.read(entry["file"]), roots=Roots.production(), now=now)
    assert claims.root == "aws"
    assert claims.platform_id is None
    assert claims.flags["debug"] is ("debug" in entry["expected_verdict"])
    for index, register in entry["pcrs"].items():
        assert claims.measurements[f"pcr{index}"] == register


@pytest.mark.parametrize("entry", REAL, ids=lambda entry: entry["id"])
def test_genuine_document_outside_its_window(entry: dict[str, Any]) -> None:
    """The same document a day later is refused: its leaf lived for hours."""
    if entry["expected_verdict"].startswith("reject"):
        return
    now = shared.unix(entry["verification"]["now_used"]) + 86_400
    with pytest.raises(AttestationError) as caught:
        verify_nitro(shared.read(entry["file"]), roots=Roots.production(), now=now)
    assert caught.value.code == "certificate.expired"


@pytest.mark.parametrize("case", SYNTHETIC, ids=lambda case: case["id"])
def test_synthetic_document(case: dict[str, Any]) -> None:
    """Rows 83 to 90: each synthetic case is refused with its own code, or verifies for policy and binding to judge."""
    expected = REFUSED.get(case["id"])
    if expected is None:
        assert not case["expected"].startswith("reject")
        verify_case(case)
        return
    with pytest.raises(AttestationError) as caught:
        verify_case(case)
    assert caught.value.code == expected


def test_row_86_malleated_signature_keeps_the_evidence_id() -> None:
    """Row 86: (r, n - s) verifies too, and the evidence id stays the same."""
    cases = {case["id"]: case for case in SYNTHETIC}
    if "ok" not in cases:
        pytest.skip("case not here")
    data = shared.read(cases["ok"]["doc"])
    document = NitroDocument.parse(data)
    order = int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)
    other = document.signature[:48] + (order - int.from_bytes(document.signature[48:], "big")).to_bytes(48, "big")
    malleated = data.replace(document.signature, other)
    roots = Roots.of([shared.read(shared.synthetic("nitro")["root"])])
    claims = verify_nitro(malleated, roots=roots, now=cases["ok"]["now"])
    assert malleated != data
    assert claims.evidence_id == document.evidence_id


def test_row_90_tag_18_does_not_change_the_evidence_id() -> None:
    """Row 90: the optional COSE tag is outside what is signed."""
    cases = {case["id"]: case for case in SYNTHETIC}
    if "ok-tag18" not in cases:
        pytest.skip("case not here")
    tagged = shared.read(cases["ok-tag18"]["doc"])
    assert NitroDocument.parse(tagged).evidence_id == NitroDocument.parse(tagged[1:]).evidence_id


def test_every_truncation_and_many_flips_raise_only_our_errors() -> None:
    """A cut document raises a typed error; a changed one too, unless only unsigned framing changed."""
    entry = next(item for item in REAL if item["id"].startswith("nitro-dstack-20251225-5e"))
    data = shared.read(entry["file"])
    now = shared.unix(entry["verification"]["now_used"])
    identity = NitroDocument.parse(data).evidence_id
    for size in range(0, len(data), 31):
        with pytest.raises(AttestationError):
            verify_nitro(data[:size], roots=Roots.production(), now=now)
    for position in range(0, len(data), 23):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        try:
            claims = verify_nitro(bytes(changed), roots=Roots.production(), now=now)
        except AttestationError:
            continue
        assert claims.evidence_id == identity
