"""Verification of Nitro attestation documents, step by step (specs/attestation-verification.md, part Nitro).

1 parse CBOR and COSE strictly · 2 walk the certificate bundle to the pinned AWS root · 3 the document's time lies
in the leaf's validity · 4 verify the COSE signature.  Freshness against the verifier's clock is policy.
"""

from __future__ import annotations

import itertools

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from attestation.errors import CertificateError, EvidenceError
from attestation.evidence import Claims, Tee
from attestation.nitro.document import NitroDocument
from attestation.roots import Roots, TrustAnchor
from attestation.verdict import Trace
from attestation.x509 import (
    Certificate,
    check_critical_extensions,
    check_issued,
    check_window,
    parse_certificate,
)

_SHA384 = ec.ECDSA(hashes.SHA384())
_HALF = 48
_PCR_INSTANCE = 4


def verify_nitro(evidence: bytes, *, roots: Roots, now: int, trace: Trace) -> Claims:
    """Claims of one document at Unix time `now`; raises AttestationError, after recording the failed step."""
    with trace.step("1", "document format"):
        document = NitroDocument.parse(evidence)
    with trace.step("2", "certificate chain"):
        anchor, chain = verify_chain(document, roots=roots, now=now)
    with trace.step("3", "document time"):
        check_time(document, chain[-1])
    with trace.step("4", "document signature"):
        check_signature(document, chain[-1])
    return _claims(document, anchor, chain)


def verify_chain(document: NitroDocument, *, roots: Roots, now: int) -> tuple[TrustAnchor, tuple[Certificate, ...]]:
    """Root, intermediates and leaf in this order, each link checked; raises CertificateError.

    The bundle's own first certificate must equal a trusted root: it is never trusted for being there.
    """
    anchors = {anchor.der: anchor for anchor in roots.of_vendor("aws")}
    anchor = anchors.get(document.ca_bundle[0])
    if anchor is None:
        raise CertificateError("the bundle does not start with a trusted AWS root", code="certificate.root")
    chain = tuple(parse_certificate(der) for der in (*document.ca_bundle, document.certificate))
    check_window(chain[0], now)
    for position, (issuer, certificate) in enumerate(itertools.pairwise(chain)):
        cas_below = len(chain) - 2 - position
        _check_key(issuer)
        check_critical_extensions(certificate)
        check_issued(certificate, issuer, issuer.public_key(), cas_below=cas_below, now=now)
    leaf = chain[-1]
    _check_key(leaf)
    if leaf.basic_constraints()[0]:
        raise CertificateError("the signing certificate is a CA", code="certificate.issuer")
    return anchor, chain


def check_time(document: NitroDocument, leaf: Certificate) -> None:
    """The hypervisor's timestamp lies within the leaf's validity; raises EvidenceError (`nitro.timestamp`)."""
    if not leaf.not_before <= document.timestamp_ms // 1000 <= leaf.not_after:
        raise EvidenceError("the document's time is outside its certificate's validity", code="nitro.timestamp")


def check_signature(document: NitroDocument, leaf: Certificate) -> None:
    """ES384 over the Sig_structure; raises EvidenceError (`nitro.signature`)."""
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)  # checked with the chain
    r, s = (int.from_bytes(half, "big") for half in (document.signature[:_HALF], document.signature[_HALF:]))
    try:
        key.verify(encode_dss_signature(r, s), document.signed_region, _SHA384)
    except (InvalidSignature, ValueError):
        raise EvidenceError("the document is not signed by this key", code="nitro.signature") from None


def _check_key(certificate: Certificate) -> None:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size != 384:
        raise CertificateError("expected P-384 keys throughout", code="certificate.key")


def _claims(document: NitroDocument, anchor: TrustAnchor, chain: tuple[Certificate, ...]) -> Claims:
    fields = {"nonce": document.nonce, "public_key": document.public_key, "user_data": document.user_data}
    instance = document.pcrs.get(_PCR_INSTANCE)
    return Claims(
        tee=Tee.NITRO,
        root=anchor.label,
        evidence_id=document.evidence_id,
        report_data=document.user_data or b"",
        measurements={f"pcr{index}": register.hex() for index, register in document.pcrs.items()},
        flags={"debug": document.debug},
        # No field names a physical machine: PCR 4 binds the instance, the chain proves AWS operates it.
        platform_id=None,
        valid_until=min(certificate.not_after for certificate in chain),
        signers={
            "root": chain[0].spki_sha256,
            "intermediate": chain[-2].spki_sha256,
            "leaf": chain[-1].spki_sha256,
        },
        details={
            "module_id": document.module_id,
            "timestamp_ms": document.timestamp_ms,
            "instance": instance.hex() if instance is not None else None,
            **{name: value.hex() if value is not None else None for name, value in fields.items()},
        },
    )
