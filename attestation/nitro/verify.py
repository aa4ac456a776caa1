"""Verification of Nitro attestation documents, step by step (specs/attestation-verification.md, part Nitro).

1 parse CBOR and COSE strictly · 2 walk the certificate bundle to the pinned AWS root · 3 the document's time lies
in the leaf's validity · 4 verify the COSE signature.  Freshness against the verifier's clock is policy.

Rule: a remembered link counts only inside its certificate's validity and only below an issuer verified again.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from attestation.cache import WindowCache
from attestation.collateral import Collateral
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

STEPS = (
    ("1", "document format"),
    ("2", "certificate chain"),
    ("3", "document time"),
    ("4", "document signature"),
)
"""Every step in order: a verdict lists those not reached as skipped."""

_NAMES = dict(STEPS)
_SHA384 = ec.ECDSA(hashes.SHA384())
_HALF = 48
_PCR_INSTANCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A certificate of a chain with its key, checked to be P-384."""

    certificate: Certificate
    key: ec.EllipticCurvePublicKey


class NitroVerifier:
    """Verifies documents under fixed roots; remembers verified links, which documents of one region share."""

    def __init__(self, roots: Roots) -> None:
        self._anchors = {anchor.der: anchor for anchor in roots.of_vendor("aws")}
        self._links: WindowCache[_Member] = WindowCache()

    def __call__(self, evidence: bytes, *, collateral: Collateral, now: int, trace: Trace) -> Claims:
        """Claims of one document at Unix time `now`; raises AttestationError, after recording the failed step.

        The document carries its whole chain, so `collateral` is not asked.
        """
        del collateral
        with trace.step("1", _NAMES["1"]):
            document = NitroDocument.parse(evidence)
        with trace.step("2", _NAMES["2"]):
            anchor, chain = self._verify_chain(document, now)
        leaf = chain[-1]
        with trace.step("3", _NAMES["3"]):
            check_time(document, leaf.certificate)
        with trace.step("4", _NAMES["4"]):
            check_signature(document, leaf.key)
        return _claims(document, anchor, tuple(member.certificate for member in chain))

    def _verify_chain(self, document: NitroDocument, now: int) -> tuple[TrustAnchor, list[_Member]]:
        """Root, intermediates and leaf in this order, each link checked; raises CertificateError.

        The bundle's own first certificate must equal a trusted root: it is never trusted for being there.
        """
        anchor = self._anchors.get(document.ca_bundle[0])
        if anchor is None:
            raise CertificateError("the bundle does not start with a trusted AWS root", code="certificate.root")
        below = (*document.ca_bundle[1:], document.certificate)
        chain = [self._root(anchor, now)]
        for position, encoded in enumerate(below):
            chain.append(self._link(chain[-1], encoded, cas_below=len(below) - 1 - position, now=now))
        if chain[-1].certificate.basic_constraints()[0]:
            raise CertificateError("the signing certificate is a CA", code="certificate.issuer")
        return anchor, chain

    def _root(self, anchor: TrustAnchor, now: int) -> _Member:
        key = (b"", anchor.der, 0)
        member = self._links.get(key, now)
        if member is None:
            member = _member(anchor.der)
            check_window(member.certificate, now)
            begin, end = member.certificate.not_before, member.certificate.not_after
            self._links.put(key, member, valid_from=begin, valid_until=end)
        return member

    def _link(self, issuer: _Member, encoded: bytes, *, cas_below: int, now: int) -> _Member:
        """The certificate `encoded`, issued by `issuer`, which the caller has verified for the same `now`."""
        key = (issuer.certificate.der, encoded, cas_below)
        member = self._links.get(key, now)
        if member is None:
            member = _member(encoded)
            certificate = member.certificate
            check_critical_extensions(certificate)
            check_issued(certificate, issuer.certificate, issuer.key, cas_below=cas_below, now=now)
            self._links.put(key, member, valid_from=certificate.not_before, valid_until=certificate.not_after)
        return member


def check_time(document: NitroDocument, leaf: Certificate) -> None:
    """The hypervisor's timestamp lies within the leaf's validity; raises EvidenceError (`nitro.timestamp`)."""
    if not leaf.not_before <= document.timestamp_ms // 1000 <= leaf.not_after:
        raise EvidenceError("the document's time is outside its certificate's validity", code="nitro.timestamp")


def check_signature(document: NitroDocument, key: ec.EllipticCurvePublicKey) -> None:
    """ES384 over the Sig_structure; raises EvidenceError (`nitro.signature`)."""
    r, s = (int.from_bytes(half, "big") for half in (document.signature[:_HALF], document.signature[_HALF:]))
    try:
        key.verify(encode_dss_signature(r, s), document.signed_region, _SHA384)
    except (InvalidSignature, ValueError):
        raise EvidenceError("the document is not signed by this key", code="nitro.signature") from None


def _member(encoded: bytes) -> _Member:
    certificate = parse_certificate(encoded)
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size != 384:
        raise CertificateError("expected P-384 keys throughout", code="certificate.key")
    return _Member(certificate=certificate, key=key)


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
