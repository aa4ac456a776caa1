"""Revocation lists: parsed strictly, then asked whether one serial number is on them.

Rules: only complete lists (no delta, no indirect, no scope restriction: their marks are
critical extensions and are refused); `nextUpdate` must be present.  RFC 5280 section 5.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from attestation import der
from attestation.errors import CertificateError
from attestation.limits import CRL_BYTES_MAX, CRL_ENTRIES_MAX
from attestation.x509 import common_name


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """One parsed CRL; nothing about it is verified yet."""

    der: bytes
    tbs: bytes
    algorithm: bytes
    issuer: bytes
    issuer_name: str
    this_update: int
    next_update: int
    serials: frozenset[int]
    signature: bytes

    @property
    def sha256(self) -> bytes:
        """Digest of the whole list."""
        return hashlib.sha256(self.der).digest()


def parse_crl(data: bytes) -> RevocationList:
    """Read one DER CertificateList (version 2); raises CertificateError."""
    if len(data) > CRL_BYTES_MAX:
        raise CertificateError(f"expected at most {CRL_BYTES_MAX} bytes of CRL, found {len(data)}")
    outer = der.Reader(data)
    body = outer.enter(der.SEQUENCE)
    outer.finish()
    start = body.offset
    fields = body.enter(der.SEQUENCE)
    tbs = data[start : body.offset]
    algorithm = body.raw(der.SEQUENCE)
    signature = body.bit_string()
    body.finish()
    if fields.integer() != 1:
        raise CertificateError("expected a version 2 CRL")
    if fields.raw(der.SEQUENCE) != algorithm:
        raise CertificateError("CRL signature algorithm differs inside and outside the signed part")
    issuer = fields.raw(der.SEQUENCE)
    this_update, next_update = fields.time(), fields.time()
    serials = _entries(fields.enter(der.SEQUENCE)) if fields.peek() == der.SEQUENCE else frozenset()
    if fields.peek() == 0xA0:
        explicit = fields.enter(0xA0)
        _refuse_critical(explicit.enter(der.SEQUENCE))
        explicit.finish()
    fields.finish()
    return RevocationList(
        der=data,
        tbs=tbs,
        algorithm=algorithm,
        issuer=issuer,
        issuer_name=common_name(issuer),
        this_update=this_update,
        next_update=next_update,
        serials=serials,
        signature=signature,
    )


def looks_like_crl(data: bytes) -> bool:
    """Tell a CRL from a certificate: the first member of its signed part is an INTEGER, not [0]."""
    try:
        return der.Reader(data).enter(der.SEQUENCE).enter(der.SEQUENCE).peek() == der.INTEGER
    except CertificateError:
        return False


def _entries(listed: der.Reader) -> frozenset[int]:
    serials = set()
    while not listed.done:
        entry = listed.enter(der.SEQUENCE)
        serials.add(entry.integer())
        entry.time()
        if not entry.done:
            _refuse_critical(entry.enter(der.SEQUENCE))
        entry.finish()
        if len(serials) > CRL_ENTRIES_MAX:
            raise CertificateError(f"expected at most {CRL_ENTRIES_MAX} CRL entries")
    return frozenset(serials)


def _refuse_critical(extensions: der.Reader) -> None:
    while not extensions.done:
        fields = extensions.enter(der.SEQUENCE)
        oid = fields.oid()
        critical = fields.boolean() if fields.peek() == der.BOOLEAN else False
        fields.read(der.OCTET_STRING)
        fields.finish()
        if critical:
            raise CertificateError(f"CRL carries the critical extension {oid}: not a complete list")
