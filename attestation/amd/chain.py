"""From leaf to pinned AMD root: ASK or ASVK, ARK, and the revocation list when one is given.

Rule: collateral is untrusted, so one bogus certificate or list beside the genuine ones must not
stop a genuine report: whatever fits is tried, and only what verifies counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attestation.amd.leaf import SnpLeaf
from attestation.amd.report import SnpReport, TcbVersion
from attestation.crl import RevocationList
from attestation.errors import AttestationError, CertificateError, CollateralMissingError, EvidenceError
from attestation.roots import Roots, TrustAnchor
from attestation.x509 import (
    CRL_SIGN,
    Certificate,
    PublicKey,
    check_critical_extensions,
    check_issued,
    check_window,
    parse_certificate,
    verify_signature,
)

CANDIDATES_MAX = 64
"""Certificates tried for one role: bounds the work that a stuffed collateral set can cause to some 50 ms."""

_VCEK, _VLEK = 0, 1
_INTERMEDIATE_NAMES = {"vcek": "SEV-", "vlek": "SEV-VLEK-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpChain:
    """A leaf whose chain to a trusted root has been verified."""

    leaf: SnpLeaf
    leaf_key: PublicKey
    intermediate: Certificate
    root: Certificate
    anchor: TrustAnchor
    revocation: RevocationList | None
    sole: bool
    """No other intermediate or list was offered: at any time inside the validity the answer is this one."""

    @property
    def product(self) -> str:
        """Processor family the root is for: Milan, Genoa or Turin."""
        return self.anchor.common_name.removeprefix("ARK-")

    @property
    def valid_from(self) -> int:
        """Unix seconds from which every member of the chain is valid."""
        starts = [self.leaf.certificate.not_before, self.intermediate.not_before, self.root.not_before]
        return max([*starts, *([self.revocation.this_update] if self.revocation else [])])

    @property
    def valid_until(self) -> int:
        """Unix seconds at which the first member of the chain expires."""
        ends = [self.leaf.certificate.not_after, self.intermediate.not_after, self.root.not_after]
        return min([*ends, *([self.revocation.next_update] if self.revocation else [])])


def fitting_leaves(report: SnpReport, certificates: Sequence[Certificate]) -> tuple[SnpLeaf, ...]:
    """The certificates that may be of the key that signed this report, by kind, chip and firmware level.

    Longest-lived first: the same key is sometimes certified more than once.  Never empty: raises
    CollateralMissingError (`collateral.missing`) if no leaf of any kind is there, EvidenceError
    (`snp.signing-key`) if the report was signed by another kind of key, CertificateError for a malformed leaf.
    """
    if report.signing_key not in (_VCEK, _VLEK):
        raise EvidenceError("the report is not signed by a VCEK or VLEK", code="snp.signing-key")
    kind = "vcek" if report.signing_key == _VCEK else "vlek"
    found = [item for item in certificates if item.common_name in ("SEV-VCEK", "SEV-VLEK")]
    if not found:
        raise CollateralMissingError(
            f"the {kind.upper()} certificate of this report is not in the collateral",
            hint="add the certificate from the host's auxiliary blob, or run `attest fetch` with this evidence",
        )
    wanted = [item for item in found if item.common_name == f"SEV-{kind.upper()}"]
    if not wanted:
        raise EvidenceError(
            f"the report names a {kind.upper()}, the collateral has another key", code="snp.signing-key"
        )
    if len(wanted) == 1:
        # A set made for this report: a mismatch found later says more than "none fits".
        return (SnpLeaf.parse(wanted[0]),)
    readable = []
    for item in wanted:
        try:
            readable.append(SnpLeaf.parse(item))
        except CertificateError:
            continue  # another machine's damaged certificate must not stop this one
    fitting = [leaf for leaf in readable if _fits(leaf, report)]
    if not fitting:
        raise CollateralMissingError("none of the certificates is for this chip and firmware level")
    fitting.sort(key=lambda leaf: -leaf.certificate.not_after)
    return tuple(fitting[:CANDIDATES_MAX])


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
    candidates = [item for item in certificates if item.subject == issuer][:CANDIDATES_MAX]
    if not candidates:
        raise CollateralMissingError("the AMD intermediate certificate (ASK or ASVK) is not in the collateral")
    refusals: list[AttestationError] = []
    for anchor in roots.of_vendor("amd"):
        root = parse_certificate(anchor.der)
        lists = [item for item in revocations if item.issuer == root.subject][:CANDIDATES_MAX]
        for intermediate in candidates:
            if intermediate.issuer != root.subject:
                continue
            try:
                _walk(leaf, intermediate, root, now=now)
                return SnpChain(
                    leaf=leaf,
                    leaf_key=leaf.certificate.public_key(),
                    intermediate=intermediate,
                    root=root,
                    anchor=anchor,
                    revocation=_revocation(intermediate, root, lists, now=now),
                    sole=len(candidates) == 1 and len(lists) <= 1,
                )
            except AttestationError as error:
                refusals.append(error)
    if refusals:
        raise most_telling(refusals)
    raise CertificateError("the chain does not end at a trusted AMD root", code="certificate.root")


def most_telling(errors: Sequence[AttestationError]) -> AttestationError:
    """Of several candidates' errors the one to report: "cannot tell" before a revocation before the first.

    A bogus candidate can always be wrong; what is merely missing or out of date may still turn out right.
    """
    missing = next((error for error in errors if isinstance(error, CollateralMissingError)), None)
    revoked = next((error for error in errors if error.code == "certificate.revoked"), None)
    return missing or revoked or errors[0]


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
    intermediate: Certificate, root: Certificate, lists: Sequence[RevocationList], *, now: int
) -> RevocationList | None:
    """The newest list that this root signed, not newer than `now` if there is one; None if none was given."""
    if not lists:
        return None
    if not root.may(CRL_SIGN):
        raise CertificateError("the root may not sign revocation lists", code="crl.signature")
    signed = _signed(lists, root)
    current = [item for item in signed if item.this_update <= now]
    # A list that names the certificate revokes it, however old the list is.
    if any(intermediate.serial in item.serials for item in current[:1]):
        raise CertificateError(f"{intermediate.common_name!r} is revoked", code="certificate.revoked")
    if not current:
        raise CertificateError("the revocation list is from the future", code="crl.not-yet-valid")
    if now > current[0].next_update:
        raise CollateralMissingError("the revocation list has expired", code="crl.expired")
    return current[0]


def _signed(lists: Sequence[RevocationList], root: Certificate) -> list[RevocationList]:
    """Those this root signed, newest first; raises CertificateError if it signed none."""
    key = root.public_key()
    signed: list[RevocationList] = []
    refusal: CertificateError | None = None
    for item in lists:
        try:
            verify_signature(key, item.algorithm, item.signature, item.tbs)
        except CertificateError as error:
            refusal = error
        else:
            signed.append(item)
    if not signed and refusal is not None:
        raise refusal
    return sorted(signed, key=lambda item: -item.this_update)


def _fits(leaf: SnpLeaf, report: SnpReport) -> bool:
    if leaf.kind == "vcek" and leaf.hardware_id is not None and any(report.chip_id):
        size = len(leaf.hardware_id)
        if report.chip_id[:size] != leaf.hardware_id or any(report.chip_id[size:]):
            return False
    try:
        return leaf.tcb == TcbVersion.parse(report.reported_tcb, leaf.product)
    except EvidenceError:
        return False
