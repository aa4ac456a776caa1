"""From leaf to pinned AMD root: ASK or ASVK, ARK, and the revocation list when one is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attestation.amd.leaf import SnpLeaf
from attestation.amd.report import SnpReport, TcbVersion
from attestation.crl import RevocationList
from attestation.errors import CertificateError, CollateralMissingError, EvidenceError
from attestation.roots import Roots, TrustAnchor
from attestation.x509 import (
    CRL_SIGN,
    Certificate,
    check_critical_extensions,
    check_issued,
    check_window,
    parse_certificate,
    verify_signature,
)

_VCEK, _VLEK = 0, 1
_INTERMEDIATE_NAMES = {"vcek": "SEV-", "vlek": "SEV-VLEK-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpChain:
    """A leaf whose chain to a trusted root has been verified."""

    leaf: SnpLeaf
    intermediate: Certificate
    root: Certificate
    anchor: TrustAnchor
    revocation: RevocationList | None

    @property
    def product(self) -> str:
        """Processor family the root is for: Milan, Genoa or Turin."""
        return self.anchor.common_name.removeprefix("ARK-")

    @property
    def valid_until(self) -> int:
        """Unix seconds at which the first member of the chain expires."""
        ends = [self.leaf.certificate.not_after, self.intermediate.not_after, self.root.not_after]
        return min([*ends, *([self.revocation.next_update] if self.revocation else [])])


def select_leaf(report: SnpReport, certificates: Sequence[Certificate]) -> SnpLeaf:
    """The certificate of the key that signed this report, told by kind, chip and firmware level.

    Raises CollateralMissingError (`collateral.missing`) if no leaf of any kind is there, EvidenceError
    (`snp.signing-key`) if the report was signed by another kind of key, CertificateError for a malformed leaf.
    """
    if report.signing_key not in (_VCEK, _VLEK):
        raise EvidenceError("the report is not signed by a VCEK or VLEK", code="snp.signing-key")
    kind = "vcek" if report.signing_key == _VCEK else "vlek"
    found = [item for item in certificates if item.common_name in ("SEV-VCEK", "SEV-VLEK")]
    if not found:
        raise CollateralMissingError(
            f"the {kind.upper()} certificate of this report is not in the collateral",
            hint="add the certificate from the host's auxiliary blob or from AMD's key distribution service",
        )
    wanted = [item for item in found if item.common_name == f"SEV-{kind.upper()}"]
    if not wanted:
        raise EvidenceError(
            f"the report names a {kind.upper()}, the collateral has another key", code="snp.signing-key"
        )
    if len(wanted) == 1:
        return SnpLeaf.parse(wanted[0])
    readable = []
    for item in wanted:
        try:
            readable.append(SnpLeaf.parse(item))
        except CertificateError:
            continue  # another machine's damaged certificate must not stop this one
    fitting = [leaf for leaf in readable if _fits(leaf, report)]
    if not fitting:
        raise CollateralMissingError("none of the certificates is for this chip and firmware level")
    # The same key is sometimes certified more than once: the longest-lived certificate serves.
    return max(fitting, key=lambda leaf: leaf.certificate.not_after)


def verify_chain(
    leaf: SnpLeaf,
    certificates: Sequence[Certificate],
    revocations: Sequence[RevocationList],
    *,
    roots: Roots,
    now: int,
) -> SnpChain:
    """Walk leaf, ASK or ASVK, pinned ARK; raises CertificateError or CollateralMissingError."""
    issuer = leaf.certificate.issuer
    candidates = [item for item in certificates if item.subject == issuer]
    if not candidates:
        raise CollateralMissingError("the AMD intermediate certificate (ASK or ASVK) is not in the collateral")
    for anchor in roots.of_vendor("amd"):
        root = parse_certificate(anchor.der)
        for intermediate in candidates:
            if intermediate.issuer == root.subject:
                _walk(leaf, intermediate, root, now=now)
                revocation = _revocation(intermediate, root, revocations, now=now)
                return SnpChain(leaf=leaf, intermediate=intermediate, root=root, anchor=anchor, revocation=revocation)
    raise CertificateError("the chain does not end at a trusted AMD root", code="certificate.root")


def _walk(leaf: SnpLeaf, intermediate: Certificate, root: Certificate, *, now: int) -> None:
    check_window(root, now)
    check_critical_extensions(intermediate)
    check_issued(intermediate, root, root.public_key(), cas_below=1, now=now)
    # ASK and ASVK have the same form; only their names tell which kind of leaf they may sign.
    product = root.common_name.removeprefix("ARK-")
    if intermediate.common_name != _INTERMEDIATE_NAMES[leaf.kind] + product:
        raise CertificateError(
            f"{intermediate.common_name!r} does not sign {leaf.kind.upper()} keys of {product}", code="snp.product"
        )
    check_critical_extensions(leaf.certificate)
    check_issued(leaf.certificate, intermediate, intermediate.public_key(), cas_below=0, now=now)
    if leaf.product != product:
        raise CertificateError(f"a {leaf.product} certificate under the {product} root", code="snp.product")


def _revocation(
    intermediate: Certificate, root: Certificate, revocations: Sequence[RevocationList], *, now: int
) -> RevocationList | None:
    """The newest list of this root, verified; None if none was given."""
    ours = [item for item in revocations if item.issuer == root.subject]
    if not ours:
        return None
    newest = max(ours, key=lambda item: item.this_update)
    if not root.may(CRL_SIGN):
        raise CertificateError("the root may not sign revocation lists", code="crl.signature")
    verify_signature(root.public_key(), newest.algorithm, newest.signature, newest.tbs)
    if now < newest.this_update:
        raise CertificateError("the revocation list is from the future", code="crl.not-yet-valid")
    if now > newest.next_update:
        raise CollateralMissingError("the revocation list has expired", code="crl.expired")
    if intermediate.serial in newest.serials:
        raise CertificateError(f"{intermediate.common_name!r} is revoked", code="certificate.revoked")
    return newest


def _fits(leaf: SnpLeaf, report: SnpReport) -> bool:
    if leaf.kind == "vcek" and leaf.hardware_id is not None and any(report.chip_id):
        size = len(leaf.hardware_id)
        if report.chip_id[:size] != leaf.hardware_id or any(report.chip_id[size:]):
            return False
    try:
        return leaf.tcb == TcbVersion.parse(report.reported_tcb, leaf.product)
    except EvidenceError:
        return False
