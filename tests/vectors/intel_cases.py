"""TDX and SGX cases: one quote with its collateral bundle each, wrong in at most one place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from attestation.simulated import pck, tcb
from tests.attestation.intel import kit as kits
from tests.attestation.intel.kit import NOW, Kit, level, put, svn_level, top_status
from tests.vectors.case import Case
from tests.vectors.determinism import deterministic

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of P-256."""

DAY = 86_400
SIGNATURE = 48 + 584 + 4
ATTRIBUTES = {"debug": 0, "tud-reserved": 1, "profiling": 4, "migratable": 29, "key-locker": 31, "perfmon": 63}
SEPT_VE_DISABLE = 1 << 28


def attributes(bits: int) -> bytes:
    """TD attributes as they stand in a report."""
    return bits.to_bytes(8, "little")


def cases() -> Iterator[Case]:
    """Rows 1 to 62 of the catalogue of adversarial cases, one each from the project's own keys."""
    with deterministic("intel"):
        found = list(_cases(Kit.create()))
    yield from found


def _cases(kit: Kit) -> Iterator[Case]:
    def case(
        name: str,
        row: int,
        expected: str,
        quote: bytes | None = None,
        bundle: bytes | None = None,
        *,
        policy: str | None = None,
        now: int = NOW,
        of: Kit = kit,
    ) -> Case:
        return Case(
            name=f"intel-{name}",
            row=row,
            evidence=of.quote() if quote is None else quote,
            collateral=(of.bundle() if bundle is None else bundle,),
            roots=(kit.root.der,),
            now=now,
            expected=expected,
            policy=policy,
        )

    def change(name: str, row: int, expected: str, **options: Any) -> Case:
        return case(name, row, expected, bundle=kit.bundle(**options))

    good = kit.quote()
    yield case("ok-v4", 1, "")
    yield case("ok-v5", 1, "", kit.quote(version=5))
    yield case("ok-sgx", 1, "", kit.quote(version=3), kit.bundle(sgx=True))
    yield case("body-flip", 1, "evidence.signature", _flip(good, 568))
    yield case("version-5-body-4", 2, "evidence.unsupported", b"\x05" + good[1:])
    yield case("key-type-3", 4, "evidence.unsupported", kit.quote(key_type=3))
    yield case("vendor-flip", 5, "evidence.unsupported", kit.quote(vendor=bytes(16)))
    yield case("padded", 7, "", good + bytes(4096))
    yield case("trailing-one", 8, "evidence.trailing", good + b"\x01")
    yield case("sig-malleable", 9, "", _other_s(good))
    yield case("sig-zero", 10, "evidence.signature", good[:SIGNATURE] + bytes(64) + good[SIGNATURE + 64 :])
    yield case("ak-not-bound", 22, "evidence.key-binding", kit.quote(bound_key=bytes(64)))
    other = ec.generate_private_key(ec.SECP256R1())
    yield case("ak-othersigner", 22, "evidence.signature", kit.quote(quote_signer=other))
    yield case("qereport-otherkey", 22, "evidence.qe-signature", kit.quote(report_signer=other))
    for name, bit in ATTRIBUTES.items():
        rule = {"tud-reserved": "reserved-attributes"}.get(name, name)
        quote = kit.quote(attributes=attributes(SEPT_VE_DISABLE | 1 << bit))
        yield case(f"attr-{name}", 23 if bit == 0 else 24, "", quote, policy=f"policy.{rule}")
    yield case("no-septve", 29, "", kit.quote(attributes=attributes(0)), policy="policy.sept-ve-disable")
    yield case("service-td", 26, "", kit.quote(version=5, mrservicetd=b"\x01" * 48), policy="policy.service-td")
    yield case("zero-mrtd", 32, "", kit.quote(mrtd=bytes(48)), policy="policy.zero-measurements")
    for status in ("SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate"):
        accepted = status == "SWHardeningNeeded"
        bundle = kit.bundle(info=top_status(status, "INTEL-SA-1"))
        yield case(f"tcb-{status.lower()}", 38, "", None, bundle, policy=None if accepted else "policy.tcb-status")
    revoked = kit.bundle(info=top_status("Revoked"))
    yield case("tcb-revoked", 39, "", None, revoked, policy="policy.tcb-status")
    yield change("tcb-unknown-status", 40, "collateral.tcb-status", info=top_status("Fine"))
    low = kit.with_facts(components=bytes(16))
    yield case("tcb-below-lowest", 41, "", low.quote(), policy="policy.tcb-status")
    yield case("levels-shuffled", 43, "", None, kit.bundle(info=lambda value: value["tcbLevels"].reverse()))
    yield case("qe-debug", 47, "evidence.quoting-enclave", kit.quote(enclave={"attributes": b"\x13" + bytes(15)}))
    yield case("qe-mrsigner", 47, "evidence.quoting-enclave", kit.quote(enclave={"mrsigner": bytes(32)}))
    yield case("qe-prodid", 47, "evidence.quoting-enclave", kit.quote(enclave={"isvprodid": 9}))
    yield case("collateral-expired", 48, "collateral.expired", now=NOW + 60 * DAY)
    yield case("collateral-future", 49, "collateral.not-yet-valid", now=NOW - 60 * DAY)
    yield case(
        "tedn-gap", 52, "", None, kit.bundle(identity=put(tcbEvaluationDataNumber=5)), policy="policy.tcb-evaluation"
    )
    yield change("info-otherfmspc", 53, "collateral.mismatch", info=put(fmspc="00606A000001"))
    yield change("info-pceid", 53, "collateral.mismatch", info=put(pceId="0001"))
    tampered = kit.bundle().replace(b"UpToDate", b"uptodate", 1)
    yield case("info-tampered", 54, "collateral.signature", None, tampered)
    leaf = kits.leaf_under(kit.platform_ca, "Intel SGX PCK Certificate")
    yield change("info-by-pckleaf", 56, "collateral.signer", info_signer=leaf)
    platform_ca, signer = kit.platform_ca.certificate.serial_number, kit.tcb_signer.certificate.serial_number
    yield change("pck-revoked", 57, "certificate.revoked", revoked=(kit.leaf.serial_number,))
    yield change("intermediate-revoked", 57, "certificate.revoked", root_revoked=(platform_ca,))
    yield change("signer-revoked", 57, "certificate.revoked", root_revoked=(signer,))
    evil = Kit.create()
    yield case("evil-root", 60, "certificate.root", evil.quote(), evil.bundle())
    zero = kit.with_facts(ppid=bytes(16))
    yield case("ppid-zero", 61, "", zero.quote())

    def old_module(value: dict[str, Any]) -> None:
        value["tdxModuleIdentities"][0]["tcbLevels"] = [svn_level(0, "OutOfDate", "2024-03-13")]

    yield case("module-outofdate", 44, "", None, kit.bundle(info=old_module), policy="policy.tcb-status")
    sgx = pck.COMPONENTS_UP_TO_DATE
    future = level("UpToDate", "2026-10-01", bytes(b + 1 for b in sgx), pck.PCE_SVN_UP_TO_DATE, (5, 0, 4), False)
    yield case(
        "tcb-older", 42, "", None, kit.bundle(info=lambda value: value["tcbLevels"].insert(0, future)), policy=None
    )
    old_qe = put(tcbLevels=[svn_level(tcb.QE_SVN_UP_TO_DATE, "OutOfDate", "2024-03-13")])
    yield case("qe-outofdate", 45, "", None, kit.bundle(identity=old_qe), policy="policy.tcb-status")


def _flip(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def _other_s(quote: bytes) -> bytes:
    start = SIGNATURE + 32
    s = int.from_bytes(quote[start : start + 32], "big")
    return quote[:start] + (N - s).to_bytes(32, "big") + quote[start + 32 :]
