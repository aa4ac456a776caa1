"""The PCK certificate: which processor signs, and the security versions it had when certified.

Rules: exactly leaf, intermediate and root, in that order, the root equal to a trusted one byte
for byte; the intermediate is the Platform or Processor CA; every member of Intel's extension
appears once with its exact length, and the sixteen component numbers equal the CPUSVN octets.
Extension 1.2.840.113741.1.13.1: Intel SGX PCK Certificate and CRL Profile Specification, section 1.3.5.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from cryptography.hazmat.primitives.asymmetric import ec

from attestation import der
from attestation.errors import CertificateError
from attestation.pem import canonical_chain
from attestation.roots import TrustAnchor
from attestation.x509 import Certificate, check_critical_extensions, check_issued, check_window, parse_certificate

SGX_EXTENSIONS = "1.2.840.113741.1.13.1"
LEAF_NAME = "Intel SGX PCK Certificate"
ISSUER_NAMES = {"Intel SGX PCK Platform CA": "platform", "Intel SGX PCK Processor CA": "processor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PckFacts:
    """Content of Intel's extension in the leaf."""

    ppid: bytes
    cpusvn: bytes
    pcesvn: int
    pce_id: bytes
    fmspc: bytes
    sgx_type: int
    platform_instance_id: bytes | None = None
    configuration: tuple[tuple[str, bool], ...] = ()
    """dynamic_platform, cached_keys, smt: only under the Platform CA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PckCertificates:
    """A verified chain (signatures, names, roles, validity; revocation is checked with the collateral)."""

    leaf: Certificate
    intermediate: Certificate
    root: Certificate
    anchor: TrustAnchor
    leaf_key: ec.EllipticCurvePublicKey
    intermediate_key: ec.EllipticCurvePublicKey
    root_key: ec.EllipticCurvePublicKey
    authority: str
    """"platform" or "processor"."""

    @property
    def not_before(self) -> int:
        """When the youngest of the three became valid."""
        return max(c.not_before for c in (self.leaf, self.intermediate, self.root))

    @property
    def not_after(self) -> int:
        """When the first of the three expires."""
        return min(c.not_after for c in (self.leaf, self.intermediate, self.root))


@dataclass(frozen=True, slots=True, kw_only=True)
class PckChain(PckCertificates):
    """A verified chain with the facts its leaf states."""

    facts: PckFacts


def with_facts(chain: PckCertificates) -> PckChain:
    """Read the leaf's extension; raises CertificateError (`certificate.sgx-extension`)."""
    return PckChain(
        facts=parse_extension(chain.leaf),
        **{field.name: getattr(chain, field.name) for field in fields(PckCertificates)},
    )


def verify_certificates(pem: bytes, anchors: tuple[TrustAnchor, ...], now: int) -> PckCertificates:
    """Verify the PEM chain of a quote to one of `anchors`; raises CertificateError."""
    listed = [parse_certificate(data) for data in canonical_chain(pem)]
    if len(listed) != 3:
        raise CertificateError(f"expected leaf, intermediate and root, found {len(listed)}", code="certificate.chain")
    leaf, intermediate, root = listed
    anchor = next((anchor for anchor in anchors if anchor.der == root.der), None)
    if anchor is None:
        raise CertificateError(
            f"the root {root.common_name!r} is not a trusted one",
            code="certificate.root",
            hint="evidence under another root verifies only with --root, and is then labelled so",
        )
    authority = ISSUER_NAMES.get(intermediate.common_name)
    if authority is None or leaf.common_name != LEAF_NAME:
        raise CertificateError(
            f"expected a PCK certificate under the Platform or Processor CA, found {leaf.common_name!r} "
            f"under {intermediate.common_name!r}",
            code="certificate.role",
        )
    root_key, intermediate_key, leaf_key = (p256_key(certificate) for certificate in (root, intermediate, leaf))
    check_window(root, now)
    check_issued(intermediate, root, root_key, cas_below=1, now=now)
    check_issued(leaf, intermediate, intermediate_key, cas_below=0, now=now)
    if leaf.basic_constraints()[0]:
        raise CertificateError("the PCK certificate claims to be a CA", code="certificate.role")
    for certificate in listed:
        check_critical_extensions(certificate)
    return PckCertificates(
        leaf=leaf,
        intermediate=intermediate,
        root=root,
        anchor=anchor,
        leaf_key=leaf_key,
        intermediate_key=intermediate_key,
        root_key=root_key,
        authority=authority,
    )


def p256_key(certificate: Certificate) -> ec.EllipticCurvePublicKey:
    """The certificate's key, which must be on P-256; raises CertificateError (`certificate.key`)."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError(f"expected a P-256 key in {certificate.common_name!r}", code="certificate.key")
    return key


def parse_extension(leaf: Certificate) -> PckFacts:
    """Read Intel's extension; raises CertificateError (`certificate.sgx-extension`)."""
    extension = leaf.extensions.get(SGX_EXTENSIONS)
    if extension is None:
        raise _bad("the PCK certificate has no SGX extension")
    try:
        return _read_extension(extension.value)
    except CertificateError as error:
        raise CertificateError(f"PCK certificate: {error.detail}", code="certificate.sgx-extension") from None


def _read_extension(value: bytes) -> PckFacts:
    members = _members(der.Reader(value), SGX_EXTENSIONS, _TOP)
    tcb = _members(members[2], f"{SGX_EXTENSIONS}.2", _TCB)
    components = tuple(_small(tcb[i], 255) for i in range(1, 17))
    cpusvn = _octets(tcb[18], 16)
    if bytes(components) != cpusvn:
        raise _bad("TCB components and CPUSVN disagree")
    configuration: tuple[tuple[str, bool], ...] = ()
    if 7 in members:
        found = _members(members[7], f"{SGX_EXTENSIONS}.7", _CONFIGURATION)
        configuration = tuple((_FLAGS[number], _boolean(found[number])) for number in sorted(found))
    return PckFacts(
        ppid=_octets(members[1], 16),
        cpusvn=cpusvn,
        pcesvn=_small(tcb[17], 0xFFFF),
        pce_id=_octets(members[3], 2),
        fmspc=_octets(members[4], 6),
        sgx_type=_small(members[5], 2, der.ENUMERATED),
        platform_instance_id=_octets(members[6], 16) if 6 in members else None,
        configuration=configuration,
    )


# Sub-identifier -> required, for each of the three levels of the extension.
_TOP = dict.fromkeys(range(1, 6), True) | {6: False, 7: False}
_TCB = dict.fromkeys(range(1, 19), True)
_CONFIGURATION = {1: False, 2: False, 3: False}
_FLAGS = {1: "dynamic_platform", 2: "cached_keys", 3: "smt"}


def _members(value: der.Reader, prefix: str, known: dict[int, bool]) -> dict[int, der.Reader]:
    """Sub-identifier to a reader at its value, of a SEQUENCE of {OID, value} pairs that fills `value`."""
    listed = value.enter(der.SEQUENCE)
    value.finish()
    found: dict[int, der.Reader] = {}
    while not listed.done:
        pair = listed.enter(der.SEQUENCE)
        name = pair.oid()
        head, _, last = name.rpartition(".")
        number = int(last)
        if head != prefix or number not in known:
            raise _bad(f"unknown member {name}")
        if number in found:
            raise _bad(f"member {name} appears twice")
        found[number] = pair
    missing = [number for number, required in known.items() if required and number not in found]
    if missing:
        raise _bad(f"member {prefix}.{missing[0]} is missing")
    return found


def _octets(reader: der.Reader, length: int) -> bytes:
    value = reader.read(der.OCTET_STRING)
    reader.finish()
    if len(value) != length:
        raise _bad(f"expected {length} octets, found {len(value)}")
    return value


def _small(reader: der.Reader, maximum: int, tag: int = der.INTEGER) -> int:
    value = reader.integer(tag)
    reader.finish()
    if not 0 <= value <= maximum:
        raise _bad(f"expected a number up to {maximum}, found {value}")
    return value


def _boolean(reader: der.Reader) -> bool:
    value = reader.boolean()
    reader.finish()
    return value


def _bad(detail: str) -> CertificateError:
    return CertificateError(detail, code="certificate.sgx-extension")
