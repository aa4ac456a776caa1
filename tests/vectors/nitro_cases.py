"""Nitro cases: one attestation document each, wrong in at most one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from attestation.simulated import cbor_writer as cbor
from tests.vectors.case import Case
from tests.vectors.snp_cases import ORDER

NOW = 1_794_700_800
HOUR, DAY = 3600, 86_400
PROTECTED = cbor.encode({1: -35})
PCRS = {index: (b"\x11" * 48 if index < 3 else bytes(48)) for index in range(16)}

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The CA path lengths below the root, and the leaf's properties."""

    paths: tuple[int | None, ...] = (2, 1, 0)
    leaf_authority: bool = False
    leaf_start: int = NOW - HOUR
    leaf_end: int = NOW + 2 * HOUR
    small_leaf: bool = False
    root: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a document says; `fields` replaces, adds or (with the value `...`) drops payload members."""

    chain: Chain = field(default_factory=Chain)
    fields: Mapping[str, Any] = field(default_factory=dict)
    protected: bytes = PROTECTED
    unprotected: Mapping[Any, Any] = field(default_factory=dict)
    bundle: str = "full"
    payload_tail: bytes = b""
    payload: bytes | None = None
    signer: str = "leaf"


def certificate(name: str, issuer: Pair | None, *, path: int | None, start: int, end: int, small: bool = False) -> Pair:
    """A certificate with a key of its own; self-signed without an issuer."""
    curve = ec.SECP256R1() if small else ec.SECP384R1()
    key = ec.derive_private_key(int.from_bytes(name.encode().rjust(24, b"\x01"), "big"), curve)
    authority = path is not None
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, f"simulated {name}")])
    signer = issuer[1] if issuer else key
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(name.encode(), "big") + 1)
        .not_valid_before(datetime.fromtimestamp(start, UTC))
        .not_valid_after(datetime.fromtimestamp(end, UTC))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path), critical=True)
        .add_extension(
            x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False), critical=True
        )
        .sign(signer, hashes.SHA384(), ecdsa_deterministic=True)
    )
    return built, key


def root(name: str = "root") -> Pair:
    """A root of the test set."""
    return certificate(name, None, path=3, start=NOW - 400 * DAY, end=NOW + 4000 * DAY)


def chain(spec: Chain) -> list[Pair]:
    """Root to leaf."""
    pairs = [root(spec.root)]
    for number, path in enumerate(spec.paths):
        pairs.append(certificate(f"ca-{number}", pairs[-1], path=path, start=NOW - DAY, end=NOW + DAY))
    pairs.append(
        certificate(
            "leaf",
            pairs[-1],
            path=0 if spec.leaf_authority else None,
            start=spec.leaf_start,
            end=spec.leaf_end,
            small=spec.small_leaf,
        )
    )
    return pairs


def document(spec: Document) -> bytes:
    """The encoded COSE_Sign1."""
    pairs = chain(spec.chain)
    ders = [pair[0].public_bytes(Encoding.DER) for pair in pairs]
    bundle: list[bytes] = {
        "full": ders[:-1],
        "reversed": ders[-2::-1],
        "empty": [],
        "gap": [ders[0], *ders[2:-1]],
        "long": [*ders[:1], *ders[1:2] * 6, *ders[2:-1]],
    }[spec.bundle]
    members: dict[str, Any] = {
        "module_id": "i-0123456789abcdef0-enc0123456789abcdef",
        "digest": "SHA384",
        "timestamp": NOW * 1000,
        "pcrs": PCRS,
        "certificate": ders[-1],
        "cabundle": bundle,
        "public_key": None,
        "user_data": bytes(range(64)),
        "nonce": None,
    }
    members |= dict(spec.fields)
    payload = cbor.encode({name: value for name, value in members.items() if value is not ...})
    payload = (payload if spec.payload is None else spec.payload) + spec.payload_tail
    return sealed(payload, pairs[-1][1] if spec.signer == "leaf" else pairs[-2][1], spec)


def sealed(payload: bytes, key: ec.EllipticCurvePrivateKey, spec: Document) -> bytes:
    """COSE_Sign1 over a payload."""
    signed = cbor.encode(["Signature1", spec.protected, b"", payload])
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA384(), deterministic_signing=True)))
    return cbor.encode([spec.protected, dict(spec.unprotected), payload, r.to_bytes(48, "big") + s.to_bytes(48, "big")])


def case(
    name: str,
    row: int,
    expected: str,
    spec: Document | None = None,
    *,
    evidence: bytes | None = None,
    policy: str | None = None,
    trusted: str = "root",
) -> Case:
    """One case; `expected` is the code it is refused with, or ""."""
    return Case(
        name=f"nitro-{name}",
        row=row,
        evidence=document(spec or Document()) if evidence is None else evidence,
        collateral=(),
        roots=(root(trusted)[0].public_bytes(Encoding.DER),),
        now=NOW,
        expected=expected,
        policy=policy,
    )


def changed(**fields: Any) -> Document:
    """A document with other payload members."""
    return Document(fields=fields)


def cases() -> Iterator[Case]:
    """Rows 83 to 90 of the catalogue of adversarial cases, from the project's own keys."""
    good = document(Document())
    yield case("ok", 83, "")
    yield case("debug", 83, "", changed(pcrs=PCRS | {0: bytes(48), 1: bytes(48), 2: bytes(48)}), policy="policy.debug")
    yield case("trailing", 84, "cbor.trailing", evidence=good + b"\x00")
    yield case("payload-trailing", 84, "cbor.trailing", Document(payload_tail=b"\x00"))
    yield case("dup-key", 84, "cbor.duplicate-key", Document(payload=b"\xa2" + 2 * (cbor.encode("digest") + b"\x01")))
    yield case("deep", 84, "cbor.too-deep", Document(payload=b"\x81" * 40 + b"\x00"))
    yield case("truncated", 84, "cbor.truncated", evidence=good[:-1])
    yield case("not-shortest", 84, "cbor.not-shortest", Document(payload=b"\xa1\x18\x01\x01"))
    yield case("float", 84, "cbor.type", Document(payload=b"\xa1\x01\xfa\x00\x00\x00\x00"))
    yield case("tagged-inside", 84, "cbor.type", Document(payload=b"\xa1\x01\xc0\x01"))
    yield case("chunked-string", 84, "cbor.indefinite", Document(payload=b"\xa1\x01\x5f\x41\x00\xff"))
    yield case("endless-array", 84, "cbor.truncated", Document(payload=b"\x9f\x01"))
    yield case("not-utf8", 84, "cbor.malformed", Document(payload=b"\xa1\x61\xff\x01"))
    yield case("many-entries", 84, "cbor.too-large", Document(payload=b"\x99\x08\x00" + b"\x01" * 2048))
    yield case("arr3", 84, "evidence.unknown-format", evidence=b"\x83" + good[1:-98])
    yield case("arr5", 84, "evidence.unknown-format", evidence=b"\x85" + good[1:] + b"\x01")
    yield case("payload-null", 84, "nitro.cose", evidence=b"\x84" + cbor.encode(PROTECTED) + b"\xa0\xf6" + good[-98:])
    yield case("too-large", 84, "nitro.too-large", changed(user_data=bytes(17_000)))
    for name, protected in (("es256", cbor.encode({1: -7})), ("missing", cbor.encode({})), ("empty", b"")):
        yield case(f"alg-{name}", 85, "nitro.algorithm", Document(protected=protected))
    yield case("alg-unprotected", 85, "nitro.algorithm", Document(protected=cbor.encode({}), unprotected={1: -35}))
    yield case("crit", 85, "nitro.algorithm", Document(protected=cbor.encode({1: -35, 2: [4]})))
    yield case("unprot-junk", 85, "nitro.algorithm", Document(unprotected={4: b"kid"}))
    yield case("sig-flip", 86, "nitro.signature", evidence=good[:-1] + bytes([good[-1] ^ 1]))
    yield case("sig-95", 86, "nitro.signature-format", evidence=good[:-98] + b"\x58\x5f" + good[-96:-1])
    yield case("sig-zero", 86, "nitro.signature", evidence=good[:-96] + bytes(96))
    yield case("sig-otherkey", 86, "nitro.signature", Document(signer="issuer"))
    other = (ORDER - int.from_bytes(good[-48:], "big")).to_bytes(48, "big")
    yield case("sig-malleable", 86, "", evidence=good[:-48] + other)
    yield case("selfsigned", 87, "certificate.root", Document(chain=Chain(root="evil")))
    yield case("evil-root-trusted-name", 87, "certificate.root", trusted="evil")
    yield case("cabundle-null", 87, "nitro.ca-bundle", changed(cabundle=None))
    yield case("cabundle-empty", 87, "nitro.ca-bundle", Document(bundle="empty"))
    yield case("cabundle-reversed", 87, "certificate.root", Document(bundle="reversed"))
    yield case("cabundle-missing", 87, "nitro.fields", changed(cabundle=...))
    yield case("cabundle-text", 87, "nitro.ca-bundle", changed(cabundle=["x"]))
    yield case("cabundle-long", 87, "nitro.ca-bundle", Document(bundle="long"))
    yield case("cabundle-gap", 87, "certificate.issuer", Document(bundle="gap"))
    yield case("leaf-under-leaf", 87, "certificate.issuer", Document(chain=Chain(paths=(2, 1, None))))
    yield case("pathlen", 87, "certificate.issuer", Document(chain=Chain(paths=(0, 1, 0))))
    yield case("leaf-ca", 87, "certificate.issuer", Document(chain=Chain(leaf_authority=True, paths=(2, 1))))
    yield case("leaf-expired", 87, "certificate.expired", Document(chain=Chain(leaf_end=NOW - 60)))
    yield case("leaf-future", 87, "certificate.not-yet-valid", Document(chain=Chain(leaf_start=NOW + 60)))
    yield case("leaf-p256", 87, "certificate.key", Document(chain=Chain(small_leaf=True)))
    yield case("digest-sha256", 88, "nitro.digest", changed(digest="SHA256"))
    yield case("pcr-32", 88, "nitro.pcrs", changed(pcrs=PCRS | {4: bytes(32)}))
    yield case("pcr-empty", 88, "nitro.pcrs", changed(pcrs={}))
    yield case("pcr-idx32", 88, "nitro.pcrs", changed(pcrs=PCRS | {32: bytes(48)}))
    yield case("pcr-missing0", 88, "nitro.pcrs", changed(pcrs={1: bytes(48), 2: bytes(48)}))
    yield case("pcr-strkey", 88, "nitro.pcrs", changed(pcrs=PCRS | {"x": bytes(48)}))
    yield case("module-empty", 88, "nitro.fields", changed(module_id=""))
    yield case("missing-cert", 88, "nitro.fields", changed(certificate=...))
    yield case("certificate-empty", 88, "nitro.certificate", changed(certificate=b""))
    yield case("certificate-junk", 88, "der.malformed", changed(certificate=b"\x30\x03\x02\x01\x00"))
    yield case("extra-field", 88, "nitro.fields", changed(surprise=1))
    yield case("nonce-text", 88, "nitro.fields", changed(nonce="text"))
    yield case("ts-old-in-leaf", 89, "", changed(timestamp=(NOW - 50 * 60) * 1000), policy="policy.age")
    yield case("ts-future-in-leaf", 89, "", changed(timestamp=(NOW + 60 * 60) * 1000), policy="policy.age")
    yield case("ts-outside-leaf", 89, "nitro.timestamp", changed(timestamp=(NOW - DAY) * 1000))
    yield case("ts-seconds", 89, "nitro.timestamp", changed(timestamp=NOW))
    yield case("ts-neg", 89, "nitro.timestamp", changed(timestamp=-1))
    yield case("ts-bool", 89, "nitro.timestamp", changed(timestamp=True))
    yield case("userdata-1024", 90, "", changed(user_data=bytes(1024), nonce=bytes(1024), public_key=bytes(1024)))
    yield case("userdata-5000", 90, "nitro.fields", changed(user_data=bytes(5000)))
    yield case("ok-tag18", 90, "", evidence=b"\xd2" + good)
    yield case("indef-payload", 90, "", _indefinite())


def _indefinite() -> Document:
    """The same payload as a map of indefinite length, as genuine hypervisors write it."""
    whole = document(Document())
    start = whole.index(b"\xa9")
    size = int.from_bytes(whole[start - 2 : start], "big")
    body = whole[start : start + size]
    return Document(payload=b"\xbf" + body[1:] + b"\xff")
