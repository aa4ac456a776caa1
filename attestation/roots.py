"""Which root certificates a verifier trusts: the pinned vendor roots, or others named explicitly.

Rules: a pinned root is compared by its whole DER; any other root is labelled so in every
claim ("simulated" for the development authority's name, else "custom"), and the default
policy refuses both labels.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from attestation.errors import CollateralError
from attestation.vendor_roots import PINNED

CERTIFICATE_BYTES_MAX = 8192
"""Largest certificate accepted, in bytes; the largest vendor certificate (AMD) has 1.7 kB."""

SIMULATED_NAME = "Holdfast Simulated"
"""Subject common or organisation names starting like this belong to the development authority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchor:
    """One trusted root certificate."""

    der: bytes
    vendor: str
    """Whose formats it anchors: "intel", "amd" or "aws"."""
    label: str
    """What claims say: the vendor for a pinned root, else "simulated" or "custom"."""
    certificate: x509.Certificate

    @property
    def sha256(self) -> str:
        """Fingerprint: SHA-256 (hex) of the DER bytes."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def common_name(self) -> str:
        """Subject common name, e.g. "ARK-Milan"."""
        return _common_name(self.certificate)

    @classmethod
    def of(cls, certificate: bytes) -> TrustAnchor:
        """An anchor from PEM or DER; a pinned root gets its vendor's label, any other "simulated" or "custom".

        Raises CollateralError (`root.malformed`) for anything but one self-signed CA certificate.
        """
        loaded = _load(certificate)
        der = loaded.public_bytes(Encoding.DER)
        for pinned in _pinned_anchors():
            if pinned.der == der:
                return pinned
        label = "simulated" if _is_simulated(loaded) else "custom"
        return cls(der=der, vendor=_vendor(loaded), label=label, certificate=loaded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """The set of trust anchors of one verifier."""

    anchors: tuple[TrustAnchor, ...]

    @classmethod
    def production(cls) -> Roots:
        """Intel SGX root, AMD ARK of Milan, Genoa and Turin, AWS Nitro root; nothing else."""
        return cls(anchors=_pinned_anchors())

    @classmethod
    def of(cls, certificates: Iterable[bytes]) -> Roots:
        """Exactly these roots (PEM or DER each) and no other; raises CollateralError if there are none."""
        anchors = tuple(TrustAnchor.of(certificate) for certificate in certificates)
        if not anchors:
            raise CollateralError("expected at least one root certificate", code="root.malformed")
        return cls(anchors=anchors)

    def of_vendor(self, vendor: str) -> tuple[TrustAnchor, ...]:
        """The anchors for one vendor's formats ("intel", "amd", "aws")."""
        return tuple(anchor for anchor in self.anchors if anchor.vendor == vendor)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over all anchors: caches key on it so that verifiers never share answers."""
        return hashlib.sha256(b"".join(sorted(hashlib.sha256(a.der).digest() for a in self.anchors))).digest()


def _load(certificate: bytes) -> x509.Certificate:
    if len(certificate) > 2 * CERTIFICATE_BYTES_MAX:
        raise CollateralError("root certificate is larger than any real one", code="root.malformed")
    try:
        if certificate.lstrip()[:5] == b"-----":
            (loaded,) = x509.load_pem_x509_certificates(certificate)
        else:
            loaded = x509.load_der_x509_certificate(certificate)
        loaded.verify_directly_issued_by(loaded)
        constraints = loaded.extensions.get_extension_for_class(x509.BasicConstraints).value
    except Exception:  # whatever the X.509 library raises on hostile bytes
        raise CollateralError("expected one self-signed CA certificate in PEM or DER", code="root.malformed") from None
    if not constraints.ca:
        raise CollateralError("the root certificate is not a CA", code="root.malformed")
    return loaded


def _vendor(certificate: x509.Certificate) -> str:
    """Each vendor's hierarchy has its own key type: P-256 Intel, RSA-4096 AMD, P-384 AWS."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "amd"
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return "intel"
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1):
        return "aws"
    raise CollateralError("expected a P-256, P-384 or RSA root key", code="root.malformed")


def _is_simulated(certificate: x509.Certificate) -> bool:
    # An AMD-shaped root must be called ARK-<product>: there the organisation says whose it is.
    names = [name.value for name in certificate.subject if name.oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)]
    return any(str(name).startswith(SIMULATED_NAME) for name in names)


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return cast(str, names[0].value) if len(names) == 1 else ""


def _load_pinned() -> tuple[TrustAnchor, ...]:
    anchors = []
    for pinned in PINNED:
        der = base64.b64decode(pinned.der_base64, validate=True)
        # A mismatch is a damaged build: stop before anything is verified with it.
        assert hashlib.sha256(der).hexdigest() == pinned.sha256, pinned.name
        certificate = x509.load_der_x509_certificate(der)
        anchors.append(TrustAnchor(der=der, vendor=pinned.vendor, label=pinned.vendor, certificate=certificate))
    return tuple(anchors)


def _pinned_anchors() -> tuple[TrustAnchor, ...]:
    return _PINNED_ANCHORS


_PINNED_ANCHORS = _load_pinned()
