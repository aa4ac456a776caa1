"""Collateral of an Intel platform, verified: revocation lists, TCB info and enclave identity, each by its right signer.

Rules: both lists are required and both are asked about every certificate used; TCB info and
identity must be signed by a certificate named "Intel SGX TCB Signing" that the root issued
directly; what was verified is what is used, byte for byte.  A document that is absent or out of
date is "cannot tell" (CollateralMissingError); one that is wrong is a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from attestation.collateral import Collateral
from attestation.collateral_items import CrlItem, IdentityItem, TcbInfoItem
from attestation.errors import CertificateError, CollateralError, CollateralMissingError
from attestation.evidence import Tee
from attestation.intel import qe_identity, tcb_info
from attestation.intel.pck import PckChain, p256_key
from attestation.limits import TIME_MAX
from attestation.verdict import Trace
from attestation.x509 import (
    CRL_SIGN,
    Certificate,
    PublicKey,
    check_critical_extensions,
    check_issued,
    verify_signature,
)

D = TypeVar("D")

SIGNER_NAME = "Intel SGX TCB Signing"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCollateral:
    """What one PCK chain may be judged with, and for how long."""

    info: tcb_info.TcbInfo
    identity: qe_identity.QeIdentity
    signers: tuple[Certificate, ...]
    crl_digests: tuple[bytes, bytes]
    """SHA-256 of the root's and the PCK authority's list."""
    valid_from: int
    valid_until: int


class Rooted(Protocol):
    """Whatever ends at a verified root: a PCK chain, or the root alone."""

    @property
    def root(self) -> Certificate:
        """The root certificate, already known to be trusted."""
        ...

    @property
    def root_key(self) -> ec.EllipticCurvePublicKey:
        """Its key."""
        ...


def verify_collateral(collateral: Collateral, chain: PckChain, tee: Tee, now: int, trace: Trace) -> VerifiedCollateral:
    """Steps 4.1 to 4.5 of specs/attestation-verification.md; raises CollateralError or CertificateError."""
    window = _Window()
    with trace.step("4.1", "no certificate of the chain is revoked"):
        root_crl = _check_list(collateral, chain.root, chain.root_key, now, window)
        pck_crl = _check_list(collateral, chain.intermediate, chain.intermediate_key, now, window)
        check_not_revoked(root_crl, chain.root)
        check_not_revoked(root_crl, chain.intermediate)
        check_not_revoked(pck_crl, chain.leaf)
        check_current(root_crl, now)
        check_current(pck_crl, now)
    with trace.step("4.2", "TCB info is signed by the TCB signer"):
        item, changes = collateral.tcb_info_for(tee, chain.facts.fmspc, now)
        item = item or _only(collateral.tcb_infos)
        if item is None:
            raise _missing(f"TCB info for {tee} fmspc {chain.facts.fmspc.hex()}")
        window.until(changes)
        info_signer = check_signer(item, "TCB info", collateral, chain, root_crl, now)
    with trace.step("4.3", "TCB info is current and for this platform"):
        info = item.info
        tcb_info.check_applies(info, tee=tee, fmspc=chain.facts.fmspc, pce_id=chain.facts.pce_id, now=now)
    with trace.step("4.4", "enclave identity is signed by the TCB signer"):
        name = qe_identity.IDENTITY_OF[tee]
        found, changes = collateral.identity_named(name, now)
        found = found or _only(collateral.identities)
        if found is None:
            raise _missing(f"enclave identity {name}")
        window.until(changes)
        identity_signer = check_signer(found, "enclave identity", collateral, chain, root_crl, now)
    with trace.step("4.5", "enclave identity is current and for this kind of quote"):
        identity = found.identity
        qe_identity.check_applies(identity, tee=tee, now=now)
    for signer in (info_signer, identity_signer):
        window.narrow(signer.not_before, signer.not_after)
    for item_crl in (root_crl, pck_crl):
        window.narrow(item_crl.crl.this_update, item_crl.crl.next_update)
    for issued, replaced in ((info.issued, info.next_update), (identity.issued, identity.next_update)):
        window.narrow(issued, replaced)
    return VerifiedCollateral(
        info=info,
        identity=identity,
        signers=(info_signer, identity_signer),
        crl_digests=(root_crl.crl.sha256, pck_crl.crl.sha256),
        valid_from=window.begin,
        valid_until=window.end,
    )


def verify_raw_signature(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """ECDSA P-256 with SHA-256 over `message`, signature as 64 bytes r || s."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), message, _ECDSA)
    except (InvalidSignature, ValueError):
        return False
    return True


class _Window:
    """The interval of `now` for which the same answer would be given."""

    def __init__(self) -> None:
        self.begin = 0
        self.end = TIME_MAX

    def narrow(self, begin: int, end: int) -> None:
        self.begin = max(self.begin, begin)
        self.end = min(self.end, end)

    def until(self, change: int | None) -> None:
        """Another document of the set takes over at `change`."""
        if change is not None:
            self.end = min(self.end, change - 1)


def _check_list(collateral: Collateral, issuer: Certificate, key: PublicKey, now: int, window: _Window) -> CrlItem:
    item, changes = collateral.crl_of(issuer.subject, now)
    if item is None:
        raise _missing(f"revocation list of {issuer.common_name!r}")
    window.until(changes)
    check_list_signature(item, issuer, key)
    return item


def check_list_signature(item: CrlItem, issuer: Certificate, key: PublicKey) -> None:
    """Raise CollateralError (`collateral.crl`) unless `issuer` signed this revocation list and may."""
    if not issuer.may(CRL_SIGN):
        raise CollateralError(f"{issuer.common_name!r} may not sign revocation lists", code="collateral.crl")
    # A chain delivered with the list must name the same issuer key, or the list was meant for another one.
    if item.chain is not None and not any(c.spki == issuer.spki for c in item.chain):
        raise CollateralError("revocation list came with another issuer's chain", code="collateral.crl")
    try:
        verify_signature(key, item.crl.algorithm, item.crl.signature, item.crl.tbs)
    except CertificateError:
        raise CollateralError(
            f"revocation list is not signed by {issuer.common_name!r}", code="collateral.crl"
        ) from None


def check_not_revoked(item: CrlItem, certificate: Certificate) -> None:
    """Raise CertificateError (`certificate.revoked`) if the list names the certificate."""
    if certificate.serial in item.crl.serials:
        raise CertificateError(
            f"{certificate.common_name!r} with serial {certificate.serial:#x} is revoked", code="certificate.revoked"
        )


def check_current(item: CrlItem, now: int) -> None:
    """Raise CollateralMissingError (`collateral.expired`, `.not-yet-valid`) unless the list is in force at `now`."""
    tcb_info.check_dates(
        f"revocation list of {item.crl.issuer_name!r}", item.crl.this_update, item.crl.next_update, now
    )


def check_signer(
    item: TcbInfoItem | IdentityItem, what: str, collateral: Collateral, chain: Rooted, root_crl: CrlItem, now: int
) -> Certificate:
    """The TCB signing certificate under which the document verifies; raises CollateralError."""
    offered = collateral.certificates if item.chain is None else item.chain
    candidates = [c for c in offered if c.common_name == SIGNER_NAME and c.issuer == chain.root.subject]
    if not candidates:
        if item.chain:
            raise CollateralError(
                f"{what} came with a chain that does not start at {SIGNER_NAME!r}", code="collateral.signer"
            )
        raise _missing(f"the {SIGNER_NAME!r} certificate")
    refusals: list[CertificateError] = []
    # The signing key outlives its certificates: of several, any one valid at this time will do.
    for candidate in sorted(candidates, key=lambda c: c.not_before, reverse=True):
        try:
            key = _signer_key(candidate, chain, root_crl, now)
        except CertificateError as error:
            refusals.append(error)
            continue
        if verify_raw_signature(key, item.signature, item.body):
            return candidate
    if not refusals:
        raise CollateralError(f"{what} is not signed by the TCB signer", code="collateral.signature")
    if all(refusal.code in ("certificate.expired", "certificate.not-yet-valid") for refusal in refusals) and len(
        refusals
    ) == len(candidates):
        raise CollateralMissingError(refusals[0].detail, code="collateral.expired")
    revoked = next((refusal for refusal in refusals if refusal.code == "certificate.revoked"), refusals[0])
    raise CollateralError(f"{what}: {revoked.detail}", code=_as_collateral(revoked.code))


def _signer_key(candidate: Certificate, chain: Rooted, root_crl: CrlItem, now: int) -> ec.EllipticCurvePublicKey:
    check_issued(candidate, chain.root, chain.root_key, cas_below=0, now=now)
    check_critical_extensions(candidate)
    if candidate.basic_constraints()[0]:
        raise CertificateError("the TCB signer claims to be a CA", code="certificate.role")
    check_not_revoked(root_crl, candidate)
    return p256_key(candidate)


def _as_collateral(code: str) -> str:
    return code if code == "certificate.revoked" else "collateral.signer"


def _only(items: tuple[D, ...]) -> D | None:
    """A set made for another platform holds one document of the kind: then "mismatch" says more than "missing"."""
    return items[0] if len(items) == 1 else None


def _missing(what: str) -> CollateralMissingError:
    return CollateralMissingError(
        f"no {what} in the collateral",
        code="collateral.missing",
        hint="add it with --collateral, or fetch the collateral of this platform",
    )


_ECDSA = ec.ECDSA(hashes.SHA256())
