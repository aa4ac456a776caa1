"""AMD's documents for one product or chip, and what must hold before one is kept.

1 certificate chain: root equal to a trusted one, intermediate issued by it · 2 CRL: signed by the
root, current, does not name the intermediate · 3 VCEK: for this chip and firmware level, under 1 and 2.
API: AMD 57230, VCEK Certificate and KDS Interface Specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attestation.amd.chain import verify_chain
from attestation.amd.leaf import SnpLeaf
from attestation.amd.report import TcbVersion
from attestation.collateral import Collateral
from attestation.collateral_items import CrlItem, read_blob
from attestation.crl import looks_like_crl
from attestation.errors import CertificateError, CollateralError, FetchError
from attestation.fetch.http import Response
from attestation.fetch.keeper import Keeper
from attestation.fetch.source import Wanted
from attestation.fetch.subject import AmdSubject
from attestation.intel.collateral_check import check_current, check_list_signature, check_not_revoked
from attestation.pem import encode_block
from attestation.roots import Roots, TrustAnchor
from attestation.x509 import Certificate, check_critical_extensions, check_issued, check_window, parse_certificate

_INTERMEDIATE = {"vcek": "SEV-", "vlek": "SEV-VLEK-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AmdDocuments:
    """Everything one chip (or product, without `leaf`) needs, verified."""

    product: str
    root: Certificate
    intermediate: Certificate
    crl: CrlItem
    leaf: Certificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AmdJudge:
    """The checks for one product, under its trusted root and one time."""

    anchor: TrustAnchor
    root: Certificate
    kind: str
    now: int

    @property
    def product(self) -> str:
        """Milan, Genoa or Turin."""
        return self.anchor.common_name.removeprefix("ARK-")

    def intermediate(self, answer: Response) -> Certificate:
        """The ASK or ASVK of a `cert_chain` answer; raises AttestationError."""
        offered = [item for item in read_blob(answer.body) if isinstance(item, Certificate)]
        if not any(item.der == self.root.der for item in offered):
            raise CertificateError("the chain does not end at the trusted AMD root", code="certificate.root")
        wanted = _INTERMEDIATE[self.kind] + self.product
        for item in offered:
            if item.common_name == wanted:
                check_window(self.root, self.now)
                check_critical_extensions(item)
                check_issued(item, self.root, self.root.public_key(), cas_below=1, now=self.now)
                return item
        raise CertificateError(f"the chain does not hold {wanted!r}", code="certificate.chain")

    def crl(self, answer: Response, intermediate: Certificate) -> CrlItem:
        """The root's list; raises AttestationError."""
        items = read_blob(answer.body)
        if len(items) != 1 or not isinstance(items[0], CrlItem):
            raise CollateralError("expected a revocation list and nothing else", code="collateral.unknown-format")
        if items[0].crl.issuer != self.root.subject:
            raise CollateralError("the revocation list is another root's", code="collateral.crl")
        check_list_signature(items[0], self.root, self.root.public_key())
        check_not_revoked(items[0], intermediate)
        check_current(items[0], self.now)
        return items[0]

    def leaf(self, answer: Response, subject: AmdSubject, intermediate: Certificate, crl: CrlItem) -> Certificate:
        """The VCEK of the subject's chip and level; raises AttestationError."""
        if looks_like_crl(answer.body):
            raise CollateralError("expected a certificate", code="collateral.unknown-format")
        leaf = SnpLeaf.parse(parse_certificate(answer.body))
        chip, tcb = subject.chip_id or b"", subject.reported_tcb or b""
        if leaf.hardware_id is None or chip[: len(leaf.hardware_id)] != leaf.hardware_id:
            raise CertificateError("the certificate is for another chip", code="snp.chip-id")
        if leaf.tcb != TcbVersion.parse(tcb, self.product):
            raise CertificateError("the certificate is for another firmware level", code="snp.tcb")
        verify_chain(leaf, [intermediate], [crl.crl], roots=Roots(anchors=(self.anchor,)), now=self.now)
        return leaf.certificate


def fetch_amd(
    subject: AmdSubject, keeper: Keeper, anchors: Sequence[TrustAnchor], held: Collateral, now: int
) -> AmdDocuments:
    """The documents of the first candidate product that has them; raises FetchError."""
    missing: FetchError | None = None
    for product in subject.products:
        anchor = next((item for item in anchors if item.common_name == f"ARK-{product}"), None)
        if anchor is None:
            missing = missing or FetchError(f"no trusted root for {product}", code="fetch.root")
            continue
        try:
            return _fetch_product(product, subject, keeper, anchor, held, now)
        except FetchError as error:
            if error.code != "fetch.not-found":
                raise
            missing = error
    raise missing or FetchError("no AMD product is wanted", code="fetch.unavailable")


def _fetch_product(
    product: str, subject: AmdSubject, keeper: Keeper, anchor: TrustAnchor, held: Collateral, now: int
) -> AmdDocuments:
    judge = AmdJudge(anchor=anchor, root=parse_certificate(anchor.der), kind=subject.kind, now=now)
    service = f"/{subject.kind}/v1/{product}"
    chains = [_as_pem(item, judge.root) for item in held.certificates]
    intermediate = keeper.lasting(_wanted(f"AMD {product} chain", f"{service}/cert_chain"), judge.intermediate, chains)
    crl = keeper.newest(
        _wanted(f"AMD {product} CRL", f"{service}/crl"),
        lambda answer: judge.crl(answer, intermediate),
        [Response(status=200, body=item.crl.der) for item in held.crls],
    )
    path = subject.vcek_path(product)
    leaf = None
    if path is not None:
        leaf = keeper.lasting(
            _wanted(f"VCEK of chip {(subject.chip_id or b'').hex()[:16]}", path),
            lambda answer: judge.leaf(answer, subject, intermediate, crl),
            [Response(status=200, body=item.der) for item in held.certificates if item.common_name == "SEV-VCEK"],
        )
    return AmdDocuments(product=product, root=judge.root, intermediate=intermediate, crl=crl, leaf=leaf)


def bundle(documents: AmdDocuments) -> bytes:
    """The documents as one PEM file: leaf, intermediate, root, list."""
    certificates = [documents.leaf, documents.intermediate, documents.root]
    blocks = [encode_block("CERTIFICATE", item.der) for item in certificates if item is not None]
    return b"".join([*blocks, encode_block("X509 CRL", documents.crl.crl.der)])


def _wanted(name: str, path: str) -> Wanted:
    return Wanted(name=name, vendor="amd", paths=(path,))


def _as_pem(intermediate: Certificate, root: Certificate) -> Response:
    return Response(
        status=200, body=encode_block("CERTIFICATE", intermediate.der) + encode_block("CERTIFICATE", root.der)
    )
