"""SEV-SNP cases: one report and its collateral each, wrong in at most one place."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from attestation.simulated import der_writer as der
from attestation.simulated.amd_certificates import FirmwareLevels
from tests.vectors import pss
from tests.vectors.case import Case

NOW = 1_794_700_800
"""2026-11-15T00:00:00Z."""

PKI = Path(__file__).parent / "pki"
CHIP = bytes(range(64, 128))
TURIN_CHIP = bytes(range(1, 9))
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
ARC = "1.3.6.1.4.1.3704.1."
LEVELS = FirmwareLevels()
START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC)

_SHA384 = der.sequence(der.oid("2.16.840.1.101.3.4.2.2"), b"\x05\x00")
PSS_ALGORITHM = der.sequence(
    der.oid("1.2.840.113549.1.1.10"),
    der.sequence(
        der.tlv(0xA0, _SHA384),
        der.tlv(0xA1, der.sequence(der.oid("1.2.840.113549.1.1.8"), _SHA384)),
        der.tlv(0xA2, der.integer(48)),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What a leaf certificate says; `extensions` replaces or drops (None) single ones by their arc's end."""

    kind: str = "SEV-VCEK"
    product: str = "Milan-B0"
    levels: FirmwareLevels = LEVELS
    chip: bytes | None = CHIP
    issuer: str = "ask-milan"
    start: datetime = START
    end: datetime = END
    extensions: Mapping[str, bytes | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report says; `patches` overwrites signed bytes, `tail` bytes after signing."""

    version: int = 5
    product: str = "Milan"
    policy: int = 0x30000
    platform_info: int = 0b100101
    key_info: int = 0
    vmpl: int = 0
    levels: FirmwareLevels = LEVELS
    chip: bytes = CHIP
    patches: Mapping[int, bytes] = field(default_factory=dict)
    tail: Mapping[int, bytes] = field(default_factory=dict)


CPUID = {"Milan": (0x19, 0x01, 1), "Genoa": (0x19, 0x11, 1), "Turin": (0x1A, 0x02, 1)}


@cache
def authority(name: str) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """A CA of the test set with its published key."""
    certificate = x509.load_pem_x509_certificate((PKI / f"{name}.crt.pem").read_bytes())
    key = load_pem_private_key((PKI / f"{name}.key.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return certificate, key


def signing_key(label: int = 1) -> ec.EllipticCurvePrivateKey:
    """A chip's signing key."""
    return ec.derive_private_key(0x5E5000 + label, ec.SECP384R1())


def leaf(spec: Leaf, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The DER of a leaf certificate, serial number 0 as on every genuine one."""
    issuer, issuer_key = authority(spec.issuer)
    values: dict[str, bytes | None] = {
        "1": der.integer(1),
        "2": der.tlv(der.IA5_STRING, spec.product.encode()),
        "3.1": der.integer(spec.levels.bootloader),
        "3.2": der.integer(spec.levels.tee),
        "3.3": der.integer(spec.levels.snp),
        "3.8": der.integer(spec.levels.microcode),
    }
    if spec.levels.fmc is not None:
        values["3.9"] = der.integer(spec.levels.fmc)
    if spec.kind == "SEV-VLEK":
        values["5"] = der.tlv(der.IA5_STRING, b"CN=cc-simulated.example")
    elif spec.chip is not None:
        values["4"] = spec.chip
    values |= dict(spec.extensions)
    extensions = [
        der.sequence(der.oid(ARC + arc), der.octets(value)) for arc, value in values.items() if value is not None
    ]
    tbs = der.sequence(
        der.tlv(0xA0, der.integer(2)),
        der.integer(0),
        PSS_ALGORITHM,
        issuer.subject.public_bytes(),
        der.sequence(_time(spec.start), _time(spec.end)),
        x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, spec.kind)]).public_bytes(),
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        der.tlv(0xA3, der.sequence(*extensions)),
    )
    return der.sequence(tbs, PSS_ALGORITHM, der.tlv(0x03, b"\x00" + pss.sign(issuer_key, tbs)))


def revocation_list(root: str, serials: tuple[int, ...], *, start: int, end: int) -> bytes:
    """A DER CRL of a root."""
    issuer, key = authority(root)
    entries = [der.sequence(der.integer(serial), _time(_moment(start))) for serial in serials]
    tbs = der.sequence(
        der.integer(1),
        PSS_ALGORITHM,
        issuer.subject.public_bytes(),
        _time(_moment(start)),
        _time(_moment(end)),
        *([der.sequence(*entries)] if entries else []),
    )
    return der.sequence(tbs, PSS_ALGORITHM, der.tlv(0x03, b"\x00" + pss.sign(key, tbs)))


def report(spec: Report, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A signed report."""
    data = bytearray(0x4A0)
    struct.pack_into("<IIQ", data, 0, spec.version, 1, spec.policy)
    struct.pack_into("<II", data, 0x30, spec.vmpl, 1)
    struct.pack_into("<QI", data, 0x40, spec.platform_info, spec.key_info)
    data[0x50:0x90], data[0x90:0xC0] = bytes(range(64)), b"\xab" * 48
    data[0x140:0x160], data[0x160:0x180] = b"\x5a" * 32, b"\xff" * 32
    for offset in (0x38, 0x180, 0x1E0, 0x1F0):
        data[offset : offset + 8] = spec.levels.encode()
    if spec.version >= 3:
        data[0x188:0x18B] = bytes(CPUID[spec.product])
    data[0x1A0 : 0x1A0 + len(spec.chip)] = spec.chip
    data[0x1E8:0x1EB] = data[0x1EC:0x1EF] = bytes([35, 55, 1])
    for offset, value in spec.patches.items():
        data[offset : offset + len(value)] = value
    algorithm = ec.ECDSA(hashes.SHA384(), deterministic_signing=True)
    r, s = decode_dss_signature(key.sign(bytes(data[:0x2A0]), algorithm))
    data[0x2A0:0x2D0], data[0x2E8:0x318] = r.to_bytes(48, "little"), s.to_bytes(48, "little")
    for offset, value in spec.tail.items():
        data[offset : offset + len(value)] = value
    return bytes(data)


def case(
    name: str,
    row: int,
    expected: str,
    *,
    of: Report | None = None,
    by: Leaf | None = None,
    authorities: tuple[str, ...] = ("ask-milan",),
    roots: tuple[str, ...] = ("ark-milan",),
    crl: bytes | None = None,
    edit: Callable[[bytes], bytes] = lambda data: data,
    key: ec.EllipticCurvePrivateKey | None = None,
    now: int = NOW,
    policy: str | None = None,
) -> Case:
    """One case; `expected` is the code it is refused with, or "" if it verifies (then `policy` may refuse it)."""
    chip_key = signing_key()
    collateral = [leaf(by or Leaf(), chip_key)]
    collateral += [authority(item)[0].public_bytes(Encoding.DER) for item in authorities]
    return Case(
        name=f"snp-{name}",
        row=row,
        evidence=edit(report(of or Report(), key or chip_key)),
        collateral=(*collateral, *([crl] if crl else [])),
        roots=tuple(authority(item)[0].public_bytes(Encoding.DER) for item in roots),
        now=now,
        expected=expected,
        policy=policy,
    )


def cases() -> Iterator[Case]:
    """Rows 63 to 82 of the catalogue of adversarial cases, from the project's own keys."""
    low = FirmwareLevels(bootloader=3)
    turin = FirmwareLevels(bootloader=1, snp=2, microcode=0x61, fmc=1)
    vlek = Leaf(kind="SEV-VLEK", chip=None, issuer="asvk-milan", product="Milan")
    masked = Report(key_info=1 << 2, chip=bytes(64))
    yield case("ok", 63, "")
    yield case("ok-v2", 63, "", of=Report(version=2))
    yield case("ok-v3", 63, "", of=Report(version=3))
    yield case("ok-vlek", 71, "", of=masked, by=vlek, authorities=("asvk-milan",))
    yield case(
        "ok-turin",
        63,
        "",
        of=Report(product="Turin", levels=turin, chip=TURIN_CHIP),
        by=Leaf(product="Turin", levels=turin, chip=TURIN_CHIP, issuer="ask-turin"),
        authorities=("ask-turin",),
        roots=("ark-turin",),
    )
    yield case("policy-debug", 63, "", of=Report(policy=0x30000 | 1 << 19), policy="policy.debug")
    yield case("policy-migrate-ma", 64, "", of=Report(policy=0x30000 | 1 << 18), policy="policy.migratable")
    yield case("policy-rsvd17-clear", 64, "snp.policy", of=Report(policy=0x10000))
    yield case("policy-mbz-26", 64, "snp.policy", of=Report(policy=0x30000 | 1 << 26))
    yield case("policy-abi-high", 64, "snp.policy", of=Report(policy=0x30000 | 2 << 8))
    yield case("plat-smt-vs-policy", 65, "snp.inconsistent", of=Report(policy=0x20000))
    yield case("policy-hiding-vs-plat", 65, "snp.inconsistent", of=Report(policy=0x30000 | 1 << 24))
    yield case("policy-rapl-vs-plat", 65, "snp.inconsistent", of=Report(policy=0x30000 | 1 << 23))
    yield case("plat-alias-unchecked", 66, "", of=Report(platform_info=0b101), policy="policy.alias-check")
    yield case("plat-no-hiding", 67, "", policy="policy.ciphertext-hiding")
    yield case("vmpl3", 68, "", of=Report(vmpl=3), policy="policy.vmpl")
    yield case("vmpl-host", 68, "snp.vmpl", of=Report(vmpl=0xFFFFFFFF))
    for number in (0, 2):
        yield case(f"alg{number}", 69, "snp.algorithm", of=Report(patches={0x34: number.to_bytes(4, "little")}))
    for number in (1, 4, 99):
        yield case(f"version{number}", 69, "snp.version", of=Report(patches={0: number.to_bytes(4, "little")}))
    yield case("trunc", 69, "snp.length", edit=lambda data: data[:-1])
    yield case("long", 69, "snp.length", edit=lambda data: data + b"\x00")
    yield case("key-none", 70, "snp.signing-key", of=Report(key_info=7 << 2))
    yield case("key-vlek-but-vcek", 70, "snp.signing-key", of=Report(key_info=1 << 2))
    yield case("key-vcek-but-vlek", 70, "snp.signing-key", by=vlek, authorities=("asvk-milan",))
    yield case(
        "vlek-under-ask",
        70,
        "snp.product",
        of=masked,
        by=Leaf(kind="SEV-VLEK", chip=None, product="Milan"),
    )
    yield case("mask-chip-key", 71, "", of=Report(key_info=1 << 1, chip=bytes(64)))
    yield case("hwid-mismatch", 72, "snp.chip-id", of=Report(chip=bytes([1]) + CHIP[1:]))
    yield case("hwid-missing", 72, "snp.leaf", by=Leaf(chip=None))
    yield case("hwid-turin-on-milan", 72, "snp.chip-id", by=Leaf(chip=CHIP[:8]))
    yield case("chip-absent-unmasked", 72, "snp.chip-id", of=Report(chip=bytes(64)))
    for component in ("bootloader", "tee", "snp", "microcode"):
        levels = FirmwareLevels(**{component: 2})
        yield case(f"tcb-{component}-mismatch", 73, "snp.tcb", by=Leaf(levels=levels))
    yield case("tcb-missing-ucode", 73, "snp.leaf", by=Leaf(extensions={"3.8": None}))
    yield case(
        "tcb-turin-layout-on-milan", 73, "snp.tcb", of=Report(patches={0x180: bytes([1, 4, 0, 24, 0, 0, 0, 220])})
    )
    yield case(
        "tcb-reported-gt-current", 74, "snp.inconsistent", of=Report(patches={0x38: low.encode(), 0x1E0: low.encode()})
    )
    high = FirmwareLevels(bootloader=5).encode()
    yield case("tcb-committed-gt-current", 74, "snp.inconsistent", of=Report(patches={0x1E0: high}))
    yield case(
        "tcb-reported-rollback",
        75,
        "",
        of=Report(patches={0x180: low.encode()}),
        by=Leaf(levels=low),
        policy="policy.snp-tcb-floor",
    )
    yield case("tcb-launch-lt-min", 75, "", of=Report(patches={0x1F0: low.encode()}), policy="policy.snp-tcb-floor")
    yield case("reserved-nonzero", 76, "snp.reserved", of=Report(patches={0x4C: b"\x01"}))
    yield case("reserved-late", 76, "snp.reserved", of=Report(patches={0x29F: b"\x01"}))
    yield case("reserved-v3-mitigation", 76, "snp.reserved", of=Report(version=3, patches={0x1F8: b"\x01"}))
    yield case("reserved-v2-cpuid", 76, "snp.reserved", of=Report(version=2, patches={0x188: b"\x19"}))
    yield case("reserved-tail", 76, "snp.reserved", of=Report(tail={0x330: b"\x01"}))
    yield case("sig-r-overlong", 76, "snp.signature-format", of=Report(tail={0x2D0: b"\x01"}))
    yield case("sig-malleable", 77, "", edit=_other_s)
    yield case(
        "sig-flip", 77, "snp.signature", edit=lambda data: data[:0x2A0] + bytes([data[0x2A0] ^ 1]) + data[0x2A1:]
    )
    yield case("sig-bigendian", 77, "snp.signature", edit=_big_endian)
    yield case("sig-rs-zero", 77, "snp.signature", of=Report(tail={0x2A0: bytes(48), 0x2E8: bytes(48)}))
    yield case("sig-r-order", 77, "snp.signature", of=Report(tail={0x2A0: ORDER.to_bytes(48, "little")}))
    yield case("sig-otherkey", 77, "snp.signature", key=signing_key(2))
    yield case("genoa-cpuid", 78, "snp.product", of=Report(product="Genoa"))
    yield case("unknown-cpuid", 78, "snp.product", of=Report(patches={0x188: bytes([0x17, 1, 1])}))
    yield case("turin-product-name", 78, "snp.product", by=Leaf(product="Turin", levels=FirmwareLevels(fmc=1)))
    yield case("unknown-product-name", 78, "snp.leaf", by=Leaf(product="Naples"))
    yield case("turin-v2", 78, "snp.product", **_turin_v2(turin))
    yield case("chain-short", 78, "collateral.missing", authorities=())
    yield case("evil-root", 78, "certificate.signature", roots=("evil-ark",))
    yield case("other-product-root", 78, "certificate.root", roots=("ark-turin",))
    yield case("vcek-expired", 78, "certificate.expired", by=Leaf(end=datetime(2026, 1, 1, tzinfo=UTC)))
    yield case("vcek-future", 78, "certificate.not-yet-valid", by=Leaf(start=datetime(2027, 1, 1, tzinfo=UTC)))
    serial = authority("ask-milan")[0].serial_number
    day = 86_400
    ours = {"start": NOW - day, "end": NOW + 29 * day}
    yield case("crl-empty", 79, "", crl=revocation_list("ark-milan", (), **ours))
    yield case("ask-revoked", 79, "certificate.revoked", crl=revocation_list("ark-milan", (7, serial), **ours))
    old = {"start": NOW - 40 * day, "end": NOW - 10 * day}
    yield case("crl-expired", 79, "crl.expired", crl=revocation_list("ark-milan", (), **old))
    future = {"start": NOW + day, "end": NOW + 9 * day}
    yield case("crl-future", 79, "crl.not-yet-valid", crl=revocation_list("ark-milan", (), **future))
    yield case("crl-forged", 79, "certificate.signature", crl=revocation_list("evil-ark", (), **ours))
    yield case("meas-zero", 80, "", of=Report(patches={0x90: bytes(48)}), policy="policy.zero-measurements")


def _turin_v2(levels: FirmwareLevels) -> dict[str, object]:
    return {
        "of": Report(version=2, levels=levels, chip=TURIN_CHIP),
        "by": Leaf(product="Turin", levels=levels, chip=TURIN_CHIP, issuer="ask-turin"),
        "authorities": ("ask-turin",),
        "roots": ("ark-turin",),
    }


def _other_s(data: bytes) -> bytes:
    s = int.from_bytes(data[0x2E8:0x318], "little")
    return data[:0x2E8] + (ORDER - s).to_bytes(48, "little") + data[0x318:]


def _big_endian(data: bytes) -> bytes:
    return data[:0x2A0] + data[0x2A0:0x2D0][::-1] + data[0x2D0:0x2E8] + data[0x2E8:0x318][::-1] + data[0x318:]


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _time(moment: datetime) -> bytes:
    return der.tlv(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())
