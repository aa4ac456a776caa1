"""Makes signed Intel-shaped evidence and collateral, right by default, wrong in exactly one chosen place.

Built on the development authority's certificates and encoders, so that a clone without vendor
evidence still covers every check; `Kit.quote` and `Kit.bundle` take what to change.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from attestation.collateral import Collateral
from attestation.evidence import Claims
from attestation.simulated import certificates as ca
from attestation.simulated import der_writer as der
from attestation.simulated import pck, tcb, tdx
from attestation.simulated.certificates import Issuer
from attestation.verifier import Verifier

NOW = 1_794_700_800
"""2026-11-15T00:00:00Z."""

DAY = 86_400
SGX_ATTRIBUTES = bytes.fromhex("0500000000000000e700000000000000")
PROCESSOR_CA_NAME = "Intel SGX PCK Processor CA"

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """One simulated vendor with one machine."""

    root: Issuer
    platform_ca: Issuer
    processor_ca: Issuer
    tcb_signer: Issuer
    pck_key: ec.EllipticCurvePrivateKey
    attestation_key: ec.EllipticCurvePrivateKey
    leaf: x509.Certificate
    facts: pck.PckFacts
    verifier: Verifier = field(repr=False)

    @classmethod
    def create(cls) -> Kit:
        """Fresh keys; the certificates are valid from 2025 to 2049."""
        root = ca.new_root()
        platform_ca = ca.new_platform_ca(root)
        pck_key = ec.generate_private_key(ec.SECP256R1())
        facts = pck.PckFacts(ppid=bytes(range(1, 17)), instance_id=bytes(range(17, 33)))
        return cls(
            root=root,
            platform_ca=platform_ca,
            processor_ca=intermediate(root, PROCESSOR_CA_NAME),
            tcb_signer=ca.new_tcb_signer(root),
            pck_key=pck_key,
            attestation_key=ec.generate_private_key(ec.SECP256R1()),
            leaf=pck.pck_certificate(platform_ca, pck_key.public_key(), facts),
            facts=facts,
            verifier=Verifier.with_root(root.der),
        )

    def with_facts(self, **changes: Any) -> Kit:
        """The same machine certified with other facts."""
        facts = replace(self.facts, **changes)
        return replace(self, facts=facts, leaf=pck.pck_certificate(self.platform_ca, self.pck_key.public_key(), facts))

    def with_extension(self, extension: bytes | None) -> Kit:
        """The same machine with these bytes as Intel's extension (None: without it)."""
        extra = [] if extension is None else [_unrecognized(extension)]
        leaf = ca.end_entity(self.platform_ca, "Intel SGX PCK Certificate", self.pck_key.public_key(), *extra)
        return replace(self, leaf=leaf)

    def chain(self, *, nul: bool = True) -> bytes:
        """Leaf, Platform CA and root as canonical PEM."""
        return pem(self.leaf) + self.platform_ca.pem + self.root.pem + (b"\x00" if nul else b"")

    def quote(
        self,
        *,
        version: int = 4,
        key_type: int = 2,
        tee_type: int | None = None,
        vendor: bytes = tdx.QE_VENDOR_INTEL,
        body: bytes | None = None,
        body_type: int = 3,
        body_size: int | None = None,
        enclave: dict[str, Any] | None = None,
        auth: bytes = bytes(range(32)),
        chain: bytes | None = None,
        outer_type: int = 6,
        inner_type: int = 5,
        attestation_key: bytes | None = None,
        bound_key: bytes | None = None,
        quote_signer: ec.EllipticCurvePrivateKey | None = None,
        report_signer: ec.EllipticCurvePrivateKey | None = None,
        **fields: Any,
    ) -> bytes:
        """A quote; `fields` change the TD report (or, for version 3, the enclave report)."""
        sgx = version == 3
        tee = tee_type if tee_type is not None else 0 if sgx else 0x81
        signed = struct.pack("<HHIHH", version, key_type, tee, 0, 0) + vendor + bytes(20)
        if body is None:
            body = enclave_report(**fields) if sgx else td_report(v15=version == 5, **fields)
        if version == 5:
            signed += struct.pack("<HI", body_type, len(body) if body_size is None else body_size)
        signed += body
        key = attestation_key if attestation_key is not None else tdx.raw_public_key(self.attestation_key)
        bound = hashlib.sha256((bound_key if bound_key is not None else key) + auth).digest() + bytes(32)
        report = enclave_report(
            **(
                {
                    "isvprodid": 1 if sgx else 2,
                    "isvsvn": tcb.QE_SVN_UP_TO_DATE,
                    "mrsigner": tcb.QE_MRSIGNER if sgx else tcb.TD_QE_MRSIGNER,
                    "attributes": bytes.fromhex("1100000000000000e700000000000000"),
                    "report_data": bound,
                }
                | (enclave or {})
            )
        )
        chain = self.chain() if chain is None else chain
        certified = report + tcb.raw_signature(report_signer or self.pck_key, report)
        certified += struct.pack("<H", len(auth)) + auth + struct.pack("<HI", inner_type, len(chain)) + chain
        data = tcb.raw_signature(quote_signer or self.attestation_key, signed) + key
        data += certified if sgx else struct.pack("<HI", outer_type, len(certified)) + certified
        return signed + struct.pack("<I", len(data)) + data

    def bundle(
        self,
        *,
        info: Change | None = None,
        identity: Change | None = None,
        sgx: bool = False,
        info_signer: Issuer | None = None,
        identity_signer: Issuer | None = None,
        revoked: tuple[int, ...] = (),
        root_revoked: tuple[int, ...] = (),
        issued: int = NOW - DAY,
        **members: str | None,
    ) -> bytes:
        """A collateral bundle; `info` and `identity` edit the JSON before it is signed, `members` replace or drop."""
        tcb_text = dumps(tcb_info(sgx=sgx), info)
        identity_text = dumps(qe_identity(sgx=sgx), identity)
        info_signer, identity_signer = info_signer or self.tcb_signer, identity_signer or self.tcb_signer
        value: dict[str, str | None] = {
            "pck_crl_issuer_chain": (self.platform_ca.pem + self.root.pem).decode(),
            "root_ca_crl": ca.revocation_list(self.root, root_revoked, issued_at=issued).hex(),
            "pck_crl": ca.revocation_list(self.platform_ca, revoked, issued_at=issued).hex(),
            "tcb_info_issuer_chain": (info_signer.pem + self.root.pem).decode(),
            "tcb_info": tcb_text,
            "tcb_info_signature": tcb.raw_signature(info_signer.key, tcb_text.encode()).hex(),
            "qe_identity_issuer_chain": (identity_signer.pem + self.root.pem).decode(),
            "qe_identity": identity_text,
            "qe_identity_signature": tcb.raw_signature(identity_signer.key, identity_text.encode()).hex(),
        } | members
        return json.dumps({name: member for name, member in value.items() if member is not None}).encode()

    def verify(self, quote: bytes | None = None, bundle: bytes | None = None, *, now: int = NOW) -> Claims:
        """Verify with a verifier that trusts the kit's root and remembers nothing."""
        quote = self.quote() if quote is None else quote
        bundle = self.bundle() if bundle is None else bundle
        return Verifier.with_root(self.root.der).verify(quote, collateral=Collateral.of(bundle), now=now)


def td_report(*, v15: bool = False, svn_2: bytes | None = None, mrservicetd: bytes = bytes(48), **fields: Any) -> bytes:
    """A TD report body, version 1.0 or 1.5."""
    values = {"mrtd": bytes([0xAB]) * 48, "report_data": bytes(range(64))} | fields
    body = tdx.TdReport(**values).encode()
    return body + (svn_2 or values.get("tee_tcb_svn", tdx.TEE_TCB_SVN)) + mrservicetd if v15 else body


def enclave_report(
    *,
    attributes: bytes = SGX_ATTRIBUTES,
    miscselect: bytes = bytes(4),
    mrenclave: bytes = bytes([0x11]) * 32,
    mrsigner: bytes = bytes([0x22]) * 32,
    isvprodid: int = 7,
    isvsvn: int = 3,
    report_data: bytes = bytes(range(64)),
) -> bytes:
    """An SGX enclave report body."""
    report = bytearray(384)
    report[16:20] = miscselect
    report[48:64] = attributes
    report[64:96] = mrenclave
    report[128:160] = mrsigner
    struct.pack_into("<HH", report, 256, isvprodid, isvsvn)
    report[320:384] = report_data
    return bytes(report)


def tcb_info(*, sgx: bool = False) -> dict[str, Any]:
    """TCB info with three platform levels and, for TDX, three levels of module version 1."""
    levels = [
        level("UpToDate", "2026-05-13", pck.COMPONENTS_UP_TO_DATE, pck.PCE_SVN_UP_TO_DATE, (5, 0, 4), sgx),
        level("OutOfDate", "2025-03-12", pck.COMPONENTS_OUT_OF_DATE, 11, (5, 0, 2), sgx, "INTEL-SA-99901"),
        level("OutOfDate", "2024-01-10", bytes([2, 2]) + bytes(14), 5, (3, 0, 2), sgx, "INTEL-SA-99902"),
    ]
    value: dict[str, Any] = {
        "id": "SGX" if sgx else "TDX",
        "version": 3,
        "issueDate": stamp(NOW - DAY),
        "nextUpdate": stamp(NOW + 29 * DAY),
        "fmspc": pck.FMSPC.hex().upper(),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": 20,
    }
    if not sgx:
        signer = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        module_levels = [
            svn_level(8, "UpToDate", "2026-05-13"),
            svn_level(4, "OutOfDate", "2024-03-13", "INTEL-SA-99903"),
            svn_level(2, "Revoked", "2023-08-09"),
        ]
        value |= {"tdxModule": signer, "tdxModuleIdentities": [{"id": "TDX_01", **signer, "tcbLevels": module_levels}]}
    return value | {"tcbLevels": levels}


def qe_identity(*, sgx: bool = False) -> dict[str, Any]:
    """Enclave identity with three levels."""
    return {
        "id": "QE" if sgx else "TD_QE",
        "version": 2,
        "issueDate": stamp(NOW - DAY),
        "nextUpdate": stamp(NOW + 29 * DAY),
        "tcbEvaluationDataNumber": 20,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + "00" * 15,
        "attributesMask": "FBFFFFFFFFFFFFFF" + "00" * 8,
        "mrsigner": (tcb.QE_MRSIGNER if sgx else tcb.TD_QE_MRSIGNER).hex(),
        "isvprodid": 1 if sgx else 2,
        "tcbLevels": [
            svn_level(tcb.QE_SVN_UP_TO_DATE, "UpToDate", "2026-05-13"),
            svn_level(3, "OutOfDate", "2024-03-13", "INTEL-SA-99904"),
            svn_level(2, "Revoked", "2023-03-13"),
        ],
    }


def level(
    status: str, date: str, sgx_svn: bytes, pcesvn: int, tdx_svn: tuple[int, int, int], sgx: bool, *advisories: str
) -> dict[str, Any]:
    """One platform level."""
    svns: dict[str, Any] = {"sgxtcbcomponents": [{"svn": svn} for svn in sgx_svn], "pcesvn": pcesvn}
    if not sgx:
        svns["tdxtcbcomponents"] = [{"svn": svn} for svn in (*tdx_svn, *bytes(13))]
    found: dict[str, Any] = {"tcb": svns, "tcbDate": f"{date}T00:00:00Z", "tcbStatus": status}
    return found | ({"advisoryIDs": list(advisories)} if advisories else {})


def svn_level(svn: int, status: str, date: str, *advisories: str) -> dict[str, Any]:
    """One level of a module or enclave identity."""
    found: dict[str, Any] = {"tcb": {"isvsvn": svn}, "tcbDate": f"{date}T00:00:00Z", "tcbStatus": status}
    return found | ({"advisoryIDs": list(advisories)} if advisories else {})


def put(**members: Any) -> Change:
    """An edit that sets top-level members."""
    return lambda value: value.update(members)


def top_status(status: str, *advisories: str) -> Change:
    """An edit of the highest platform level."""

    def change(value: dict[str, Any]) -> None:
        value["tcbLevels"][0] |= {"tcbStatus": status, "advisoryIDs": list(advisories)}

    return change


def dumps(value: dict[str, Any], change: Change | None) -> str:
    """The JSON text after the edit, as compact as Intel's."""
    if change is not None:
        change(value)
    return json.dumps(value, separators=(",", ":"))


def intermediate(root: Issuer, name: str) -> Issuer:
    """A CA below `root`."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Issuer(certificate=certify(root, name, key, ca_path=0), key=key)


def leaf_under(issuer: Issuer, name: str, **options: Any) -> Issuer:
    """An end entity below `issuer`, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Issuer(certificate=certify(issuer, name, key, **options), key=key)


def certify(
    issuer: Issuer,
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    ca_path: int | None = None,
    not_before: int = NOW - 100 * DAY,
    not_after: int = NOW + 3650 * DAY,
    extension: bytes | None = None,
    critical: bool = False,
    signs_certificates: bool | None = None,
    signs_lists: bool | None = None,
) -> x509.Certificate:
    """A certificate with any validity, CA bit and extension."""
    authority = ca_path is not None
    signs = authority if signs_certificates is None else signs_certificates
    lists = signs if signs_lists is None else signs_lists
    builder = (
        x509.CertificateBuilder()
        .subject_name(ca._name(name))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(not_after, UTC))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=ca_path), critical=True)
        .add_extension(
            x509.KeyUsage(not signs, not signs, False, False, False, signs, lists, False, False), critical=True
        )
    )
    if extension is not None:
        builder = builder.add_extension(_unrecognized(extension), critical=critical)
    return builder.sign(issuer.key, hashes.SHA256())


def self_signed(name: str, *, not_after: int = NOW + 3650 * DAY) -> Issuer:
    """A root with this common name."""
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ca.NOT_BEFORE)
        .not_valid_after(datetime.fromtimestamp(not_after, UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Issuer(certificate=certificate, key=key)


def extension_members(facts: pck.PckFacts, **changes: bytes | None) -> bytes:
    """Intel's extension with members (named m1 to m7) replaced by these encoded values, or dropped (None)."""
    prefix = pck.SGX_EXTENSION
    components = [
        der.sequence(der.oid(f"{prefix}.2.{i + 1}"), der.integer(svn)) for i, svn in enumerate(facts.components)
    ]
    tcb_value = der.sequence(
        *components,
        der.sequence(der.oid(f"{prefix}.2.17"), der.integer(facts.pce_svn)),
        der.sequence(der.oid(f"{prefix}.2.18"), der.octets(facts.components)),
    )
    values: dict[str, bytes | None] = {
        "m1": der.octets(facts.ppid),
        "m2": tcb_value,
        "m3": der.octets(facts.pce_id),
        "m4": der.octets(facts.fmspc),
        "m5": der.integer(facts.sgx_type, der.ENUMERATED),
    } | changes
    return der.sequence(
        *(der.sequence(der.oid(f"{prefix}.{name[1:]}"), value) for name, value in values.items() if value is not None)
    )


def stamp(seconds: int) -> str:
    """RFC 3339 as Intel writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pem(certificate: x509.Certificate) -> bytes:
    """Canonical PEM."""
    return certificate.public_bytes(Encoding.PEM)


def _unrecognized(extension: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(pck.SGX_EXTENSION), extension)
