"""The same evidence through another verifier (dcap-qvl 0.7.0): equal answers, except where listed with a reason.

Every entry of `DIVERGENCES` is a case made here in which the two differ on purpose; every genuine
quote not listed must give the same status and advisories in both.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dcap_qvl
import pytest

from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.roots import Roots
from attestation.simulated import certificates as ca
from attestation.simulated import der_writer as der
from attestation.simulated import pck
from attestation.simulated.certificates import Issuer
from attestation.verifier import Verifier
from tests.attestation import shared_vectors as shared
from tests.attestation.intel import kit as kits
from tests.attestation.intel.kit import NOW, Kit, put, top_status

INTEL_ROOT = Roots.production().of_vendor("intel")[0].der

Answer = tuple[str, frozenset[str]] | str
"""(status, advisories), or the word "refused"."""


def ours(quote: bytes, bundle: bytes, root: bytes, now: int) -> Answer:
    """Our answer."""
    try:
        claims = Verifier.with_root(root).verify(quote, collateral=Collateral.of(bundle), now=now)
    except AttestationError:
        return "refused"
    assert claims.tcb_status is not None
    if claims.tcb_status in ("Revoked", "TCBNotSupported"):
        return "refused"  # the other verifier has no such results: it raises
    return claims.tcb_status.value, frozenset(claims.advisories)


def theirs(quote: bytes, bundle: bytes, root: bytes, now: int) -> Answer:
    """The other verifier's answer."""
    try:
        collateral = dcap_qvl.QuoteCollateralV3.from_json(bundle.decode())
        report = dcap_qvl.verify_with_root_ca(quote, collateral, root, now)
    except ValueError:
        return "refused"
    return report.status, frozenset(report.advisory_ids)


UP_TO_DATE: Answer = ("UpToDate", frozenset())

Make = Callable[[Kit], tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Divergence:
    """A case in which the two verifiers are meant to differ."""

    reason: str
    make: Make
    our_answer: Answer
    their_answer: Answer


def quoted(**fields: Any) -> Make:
    """The kit's quote with changed fields."""
    return lambda kit: (kit.quote(**fields), kit.bundle())


def bundled(**changes: Any) -> Make:
    """The kit's bundle with changed members."""
    return lambda kit: (kit.quote(), kit.bundle(**changes))


def attributes(bits: int) -> bytes:
    """TDATTRIBUTES with these bits and SEPT_VE_DISABLE."""
    return (1 << 28 | bits).to_bytes(8, "little")


def _unrelated_fourth(kit: Kit) -> tuple[bytes, bytes]:
    return kit.quote(chain=kit.chain(nul=False) + kit.tcb_signer.pem), kit.bundle()


def _no_root(kit: Kit) -> tuple[bytes, bytes]:
    return kit.quote(chain=kits.pem(kit.leaf) + kit.platform_ca.pem), kit.bundle()


def _pck_signs(kit: Kit) -> tuple[bytes, bytes]:
    chain = (kits.pem(kit.leaf) + kit.platform_ca.pem + kit.root.pem).decode()
    signer = Issuer(certificate=kit.leaf, key=kit.pck_key)
    return kit.quote(), kit.bundle(info_signer=signer, tcb_info_issuer_chain=chain)


def _below_platform_ca(kit: Kit) -> tuple[bytes, bytes]:
    signer = kits.leaf_under(kit.platform_ca, ca.TCB_SIGNING_NAME)
    chain = (signer.pem + kit.platform_ca.pem + kit.root.pem).decode()
    return kit.quote(), kit.bundle(info_signer=signer, tcb_info_issuer_chain=chain)


def _ppid_short(kit: Kit) -> tuple[bytes, bytes]:
    spoilt = kit.with_extension(kits.extension_members(kit.facts, m1=der.octets(bytes(8))))
    return spoilt.quote(), kit.bundle()


def _cpusvn_disagrees(kit: Kit) -> tuple[bytes, bytes]:
    prefix = pck.SGX_EXTENSION
    members = [
        der.sequence(der.oid(f"{prefix}.2.{i + 1}"), der.integer(svn)) for i, svn in enumerate(kit.facts.components)
    ]
    members.append(der.sequence(der.oid(f"{prefix}.2.17"), der.integer(13)))
    members.append(der.sequence(der.oid(f"{prefix}.2.18"), der.octets(bytes([255]) * 16)))
    spoilt = kit.with_extension(kits.extension_members(kit.facts, m2=der.sequence(*members)))
    return spoilt.quote(), kit.bundle()


DIVERGENCES = {
    "trailing bytes": Divergence(
        "bytes after the quote are not signed and not padding",
        lambda kit: (kit.quote() + b"\x01", kit.bundle()),
        "refused",
        UP_TO_DATE,
    ),
    "outer certification type 5": Divergence(
        "the format demands type 6 around the QE report", quoted(outer_type=5), "refused", UP_TO_DATE
    ),
    "text after the certificates": Divergence(
        "unsigned text in the chain",
        lambda kit: (kit.quote(chain=kit.chain(nul=False) + b"hello"), kit.bundle()),
        "refused",
        UP_TO_DATE,
    ),
    "unrelated fourth certificate": Divergence(
        "exactly three certificates", _unrelated_fourth, "refused", UP_TO_DATE
    ),
    "chain without root": Divergence("exactly three certificates", _no_root, "refused", UP_TO_DATE),
    "TCB info signed by a PCK key": Divergence(
        "only the TCB signer may: one stolen PCK key would rate every machine", _pck_signs, "refused", UP_TO_DATE
    ),
    "TCB signer below the Platform CA": Divergence(
        "the root issues the TCB signer directly", _below_platform_ca, "refused", UP_TO_DATE
    ),
    "PCE id of another platform": Divergence(
        "TCB info is for one PCE id", bundled(info=put(pceId="0001")), "refused", UP_TO_DATE
    ),
    "future revocation list": Divergence(
        "a list from the future was not current",
        lambda kit: (
            kit.quote(),
            kit.bundle(pck_crl=ca.revocation_list(kit.platform_ca, (), issued_at=NOW + 60).hex()),
        ),
        "refused",
        UP_TO_DATE,
    ),
    "list issued for another chain": Divergence(
        "the list came with another CA's chain",
        lambda kit: (
            kit.quote(),
            kit.bundle(pck_crl_issuer_chain=(kit.processor_ca.pem + kit.root.pem).decode()),
        ),
        "refused",
        UP_TO_DATE,
    ),
    "short PPID": Divergence("a PPID has sixteen bytes", _ppid_short, "refused", UP_TO_DATE),
    "CPUSVN against components": Divergence(
        "the extension contradicts itself", _cpusvn_disagrees, "refused", UP_TO_DATE
    ),
    "no QE authentication data": Divergence(
        "the format allows any length, and it is bound", quoted(auth=b""), UP_TO_DATE, "refused"
    ),
    "debug": Divergence(
        "described by us, refused by policy; refused outright there", quoted(attributes=attributes(1)), UP_TO_DATE,
        "refused",
    ),
    "migratable": Divergence(
        "described by us, refused by policy", quoted(attributes=attributes(1 << 29)), UP_TO_DATE, "refused"
    ),
    "reserved attribute": Divergence(
        "described by us, refused by policy", quoted(attributes=attributes(1 << 40)), UP_TO_DATE, "refused"
    ),
    "no SEPT_VE_DISABLE": Divergence(
        "described by us, refused by policy", quoted(attributes=bytes(8)), UP_TO_DATE, "refused"
    ),
    "service TD": Divergence(
        "described by us, allowed only by name in the policy",
        quoted(version=5, mrservicetd=bytes([1]) * 48),
        UP_TO_DATE,
        "refused",
    ),
}  # fmt: skip
"""Every known difference, each with its case."""

AGREEMENTS: dict[str, Make] = {
    "ordinary": quoted(),
    "version 5": quoted(version=5),
    "zero padding": lambda kit: (kit.quote() + bytes(100), kit.bundle()),
    "hardening needed": bundled(info=top_status("SWHardeningNeeded", "INTEL-SA-1")),
    "configuration needed": bundled(info=top_status("ConfigurationNeeded", "INTEL-SA-1")),
    "revoked level": bundled(info=top_status("Revoked")),
    "unknown status": bundled(info=top_status("Fantastic")),
    "old module": quoted(tee_tcb_svn=bytes([4, 1, 4]) + bytes(13)),
    "module below all": quoted(tee_tcb_svn=bytes([1, 1, 4]) + bytes(13)),
    "module unknown": quoted(tee_tcb_svn=bytes([8, 7, 4]) + bytes(13)),
    "module version 0": quoted(tee_tcb_svn=bytes([5, 0, 4]) + bytes(13)),
    "old microcode": quoted(tee_tcb_svn=bytes([8, 1, 3]) + bytes(13)),
    "relaunch": quoted(version=5, tee_tcb_svn=bytes([4, 1, 4]) + bytes(13), svn_2=bytes([8, 1, 4]) + bytes(13)),
    "no relaunch": quoted(version=5, tee_tcb_svn=bytes([4, 1, 4]) + bytes(13), svn_2=bytes([7, 1, 4]) + bytes(13)),
    "old quoting enclave": quoted(enclave={"isvsvn": 3}),
    "old quoting enclave, configuration": lambda kit: (
        kit.quote(enclave={"isvsvn": 3}),
        kit.bundle(info=top_status("ConfigurationNeeded", "INTEL-SA-1")),
    ),
    "quoting enclave below all": quoted(enclave={"isvsvn": 1}),
    "quoting enclave debug": quoted(enclave={"attributes": bytes.fromhex("1300000000000000e700000000000000")}),
    "quoting enclave of another signer": quoted(enclave={"mrsigner": bytes(32)}),
    "expired TCB info": lambda kit: (kit.quote(), kit.bundle(info=put(nextUpdate=kits.stamp(NOW - 1)))),
    "revoked leaf": lambda kit: (kit.quote(), kit.bundle(revoked=(kit.leaf.serial_number,))),
    "revoked intermediate": lambda kit: (
        kit.quote(),
        kit.bundle(root_revoked=(kit.platform_ca.certificate.serial_number,)),
    ),
    "fmspc": bundled(info=put(fmspc="00906ED50000")),
    "forged": lambda kit: (kit.quote(quote_signer=kit.pck_key), kit.bundle()),
    "module attributes": quoted(seam_attributes=b"\x01" + bytes(7)),
    "sgx": lambda kit: (kit.quote(version=3), kit.bundle(sgx=True)),
}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergence(kit: Kit, name: str) -> None:
    """Both answers are as listed: a change in either verifier shows here."""
    case = DIVERGENCES[name]
    quote, bundle = case.make(kit)
    assert ours(quote, bundle, kit.root.der, NOW) == case.our_answer, case.reason
    assert theirs(quote, bundle, kit.root.der, NOW) == case.their_answer, case.reason


@pytest.mark.parametrize("name", AGREEMENTS)
def test_agreement(kit: Kit, name: str) -> None:
    """Outside the list the answers are equal."""
    quote, bundle = AGREEMENTS[name](kit)
    assert ours(quote, bundle, kit.root.der, NOW) == theirs(quote, bundle, kit.root.der, NOW)


def test_agreements_cover_both_outcomes(kit: Kit) -> None:
    """The agreeing cases are not all of one kind."""
    answers = {ours(*make(kit), kit.root.der, NOW) for make in AGREEMENTS.values()}
    assert "refused" in answers
    assert len(answers) >= 6


def genuine() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Genuine quotes with a bundle."""
    return [
        (entry, case)
        for entry in shared.entries("dcap-quote")
        for case in entry.get("verifications", [])
        if "bundle" in case
    ]


@shared.NEEDED
@pytest.mark.parametrize(
    ("entry", "case"), genuine(), ids=lambda value: value["id"] if "id" in value else value["now_used"][:10]
)
def test_genuine_quotes(entry: dict[str, Any], case: dict[str, Any]) -> None:
    """Equal on every genuine quote but those whose attributes the other verifier refuses outright."""
    quote, bundle, now = shared.read(entry["file"]), shared.read(case["bundle"]), case["now_used_unix"]
    mine, other = ours(quote, bundle, INTEL_ROOT, now), theirs(quote, bundle, INTEL_ROOT, now)
    if set(entry["tags"]) & {"debug", "no-sept-ve-disable", "service-td"}:
        assert other == "refused"
    else:
        assert mine == other


def test_quotes_of_the_other_verifier_parse_alike(kit: Kit) -> None:
    """Both read the same platform facts out of one quote."""
    quote = kit.quote()
    parsed = dcap_qvl.parse_quote(quote)
    extension = parsed.pck_extension()
    assert (bytes(extension.ppid), bytes(extension.fmspc)) == (kit.facts.ppid, kit.facts.fmspc)
    assert struct.unpack_from("<H", quote)[0] == 4
    assert json.loads(kit.bundle())["tcb_info"]
