"""Which documents of a collateral set do trusted roots vouch for?

Rules: a certificate counts if it is a root or was issued, within its dates, by one that counts; a
revocation list, TCB info or enclave identity counts under the signature of its issuer among those.
Dates and content of the documents themselves are judged where they are used.

Why: of several documents of one kind the newest is kept, and a date is only believed once the
signature over it is.  Whoever stores offers of strangers asks here first; else one forged document
from the far future keeps out every genuine one.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from attestation.collateral import Collateral
from attestation.collateral_items import CrlItem, IdentityItem, TcbInfoItem
from attestation.errors import AttestationError
from attestation.intel.collateral_check import SIGNER_NAME, verify_raw_signature
from attestation.intel.pck import p256_key
from attestation.roots import Roots
from attestation.x509 import (
    CRL_SIGN,
    Certificate,
    PublicKey,
    check_issued,
    parse_certificate,
    verify_signature,
)

DEPTH_MAX = 3
"""Certificates below a root in the longest chain used: intermediate, leaf, and one to spare."""


def vouched(offered: Collateral, roots: Roots, now: int, *, also: Iterable[Certificate] = ()) -> Collateral:
    """The documents of `offered` that `roots` vouch for at `now` (Unix seconds).

    `also` are certificates that may stand between a document and a root, for example those held already.
    """
    signed: tuple[TcbInfoItem | IdentityItem, ...] = (*offered.tcb_infos, *offered.identities)
    chains = chain.from_iterable(item.chain or () for item in (*signed, *offered.crls))
    issuers = _Issuers(roots, now)
    issuers.learn((*offered.certificates, *chains, *also))
    kept = [
        *(item.blob() for item in signed if issuers.signed_json(item)),
        *(item.blob() for item in offered.crls if issuers.signed_list(item)),
        *(certificate.der for certificate in offered.certificates if issuers.issued(certificate)),
    ]
    if len(kept) == len(signed) + len(offered.crls) + len(offered.certificates):
        return offered
    return Collateral.of(*kept)


class _Issuers:
    """The certificates that lead to a root, by subject."""

    def __init__(self, roots: Roots, now: int) -> None:
        self._now = now
        self._known: dict[bytes, dict[bytes, tuple[Certificate, PublicKey]]] = {}
        self._anchors: set[bytes] = set()
        for anchor in roots.anchors:
            root = parse_certificate(anchor.der)
            self._anchors.add(root.der)
            self._add(root)

    def learn(self, certificates: Iterable[Certificate]) -> None:
        """Take in every certificate that leads to a root."""
        waiting = {certificate.der: certificate for certificate in certificates if not self.issued(certificate)}
        for _ in range(DEPTH_MAX):
            found = [certificate for certificate in waiting.values() if self._links(certificate)]
            for certificate in found:
                self._add(certificate)
                del waiting[certificate.der]
            if not found:
                return

    def issued(self, certificate: Certificate) -> bool:
        """Whether a certificate is known to lead to a root."""
        return certificate.der in self._known.get(certificate.subject, {})

    def signed_list(self, item: CrlItem) -> bool:
        """Whether the issuer that a revocation list names signed it."""
        return any(_signs_list(item, *issuer) for issuer in self._known.get(item.crl.issuer, {}).values())

    def signed_json(self, item: TcbInfoItem | IdentityItem) -> bool:
        """Whether a TCB signer that a root issued directly signed a document.

        A document that carries a chain is judged by that chain later on, so it has to be good by itself.
        """
        offered = None if item.chain is None else {certificate.der for certificate in item.chain}
        return any(
            certificate.common_name == SIGNER_NAME
            and (offered is None or certificate.der in offered)
            and any(issuer.der in self._anchors for issuer, _ in self._known.get(certificate.issuer, {}).values())
            and _signs_json(item, certificate)
            for certificates in self._known.values()
            for certificate, _ in certificates.values()
        )

    def _links(self, certificate: Certificate) -> bool:
        for issuer, key in self._known.get(certificate.issuer, {}).values():
            try:
                check_issued(certificate, issuer, key, cas_below=0, now=self._now)
            except AttestationError:
                continue
            return True
        return False

    def _add(self, certificate: Certificate) -> None:
        try:
            key = certificate.public_key()
        except AttestationError:
            return
        self._known.setdefault(certificate.subject, {})[certificate.der] = (certificate, key)


def _signs_list(item: CrlItem, issuer: Certificate, key: PublicKey) -> bool:
    # A chain delivered with the list is judged with it later on, so it has to name this issuer's key.
    if item.chain is not None and not any(certificate.spki == issuer.spki for certificate in item.chain):
        return False
    try:
        if not issuer.may(CRL_SIGN):
            return False
        verify_signature(key, item.crl.algorithm, item.crl.signature, item.crl.tbs)
    except AttestationError:
        return False
    return True


def _signs_json(item: TcbInfoItem | IdentityItem, signer: Certificate) -> bool:
    try:
        return verify_raw_signature(p256_key(signer), item.signature, item.body)
    except AttestationError:
        return False
