"""When each thing a verdict rests on runs out.  For showing only: the verdict itself has its own `valid_until`."""

from __future__ import annotations

from collections.abc import Iterator

from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.evidence import Claims, Tee
from attestation.intel.qe_identity import IDENTITY_OF
from attestation.intel.quote import parse_quote
from attestation.nitro.document import NitroDocument
from attestation.pem import canonical_chain
from attestation.report.contents import Validity
from attestation.x509 import Certificate, parse_certificate


def validities(evidence: bytes, claims: Claims, collateral: Collateral, now: int) -> tuple[Validity, ...]:
    """Documents and certificates used for verified claims, the soonest to expire first."""
    try:
        found = list(_used(evidence, claims, collateral, now))
    except AttestationError:
        # The evidence verified, so it parses; a shape nobody thought of must not cost the whole report.
        found = []
    return tuple(sorted(dict.fromkeys(found), key=lambda item: (item.ends, item.name)))


def _used(evidence: bytes, claims: Claims, collateral: Collateral, now: int) -> Iterator[Validity]:
    if claims.tee is Tee.NITRO:
        document = NitroDocument.parse(evidence)
        yield from _certificates(parse_certificate(der) for der in (*document.ca_bundle, document.certificate))
        return
    if claims.tee is Tee.SEV_SNP:
        chain = [item for item in collateral.certificates if item.spki_sha256 in claims.signers.values()]
        yield from _certificates(iter(chain))
        issuers = {item.issuer for item in chain}
    else:
        chain = [parse_certificate(der) for der in canonical_chain(parse_quote(evidence).pck_chain)]
        yield from _certificates(iter(chain))
        issuers = {item.subject for item in chain}
        yield from _documents(claims, collateral, now)
    for issuer in sorted(issuers):
        item, _ = collateral.crl_of(issuer, now)
        if item is not None:
            yield Validity(name=f"CRL of {item.crl.issuer_name}", ends=item.crl.next_update)


def _documents(claims: Claims, collateral: Collateral, now: int) -> Iterator[Validity]:
    fmspc = claims.details.get("fmspc")
    info, _ = collateral.tcb_info_for(claims.tee, bytes.fromhex(fmspc) if isinstance(fmspc, str) else b"", now)
    if info is not None:
        yield Validity(name=f"TCB info {claims.tee.value} {fmspc}", ends=info.info.next_update)
    identity, _ = collateral.identity_named(IDENTITY_OF[claims.tee], now)
    if identity is not None:
        yield Validity(name=f"enclave identity {identity.identity.name}", ends=identity.identity.next_update)


def _certificates(chain: Iterator[Certificate]) -> Iterator[Validity]:
    for certificate in chain:
        yield Validity(name=f"certificate {certificate.common_name or 'without a name'}", ends=certificate.not_after)
