"""TCB ratings and collateral, rows 38 to 62: exact statuses, and a refusal for every document that is not right."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from attestation.collateral import Collateral
from attestation.errors import AttestationError, CollateralError, CollateralMissingError
from attestation.evidence import TcbStatus
from attestation.policy import AppraisalPolicy
from attestation.simulated import certificates as ca
from attestation.simulated import der_writer as der
from attestation.simulated import pck, tcb
from attestation.simulated.certificates import Issuer
from attestation.verdict import Outcome, Result
from attestation.verifier import Verifier
from tests.attestation.intel import kit as kits
from tests.attestation.intel.kit import DAY, NOW, Kit, put, stamp, top_status

TOP = bytes([8, 1, 4]) + bytes(13)
"""TEE_TCB_SVN of a current machine: module version 1, ISVSVN 8."""


def status_of(kit: Kit, bundle: bytes | None = None, **fields: Any) -> tuple[str, tuple[str, ...]]:
    """Status and advisories of a quote whose module is current unless said otherwise."""
    version = fields.pop("version", 4)
    quote = kit.quote(version=version, **({"tee_tcb_svn": TOP} | fields))
    claims = kit.verify(quote, bundle)
    assert claims.tcb_status is not None
    return claims.tcb_status.value, claims.advisories


def code_of(kit: Kit, bundle: bytes | None = None, *, now: int = NOW, quote: bytes | None = None) -> str:
    """The code with which verification refuses."""
    with pytest.raises(AttestationError) as caught:
        kit.verify(quote, bundle, now=now)
    return caught.value.code


@pytest.mark.parametrize(
    "status",
    [
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
    ],
)
def test_row_38_status_of_the_level(kit: Kit, status: str) -> None:
    """The selected level's status and advisories come out as they are."""
    bundle = kit.bundle(info=top_status(status, "INTEL-SA-99905"))
    assert status_of(kit, bundle) == (status, ("INTEL-SA-99905",))


def test_row_38_accepted_by_default(kit: Kit) -> None:
    """By default only UpToDate and SWHardeningNeeded pass the policy."""
    for status in TcbStatus:
        if status in (TcbStatus.NOT_SUPPORTED,) or "Relaunch" in status:
            continue
        claims = kit.verify(bundle=kit.bundle(info=top_status(status.value)))
        failed = [s.code for s in AppraisalPolicy.development().appraise(claims, NOW) if s.result is Outcome.FAIL]
        accepted = status in (TcbStatus.UP_TO_DATE, TcbStatus.SW_HARDENING_NEEDED)
        assert failed == ([] if accepted else ["policy.tcb-status"]), status


def test_row_39_revoked(kit: Kit) -> None:
    """Revoked level, quoting enclave or module make the whole revoked."""
    assert status_of(kit, kit.bundle(info=top_status("Revoked")))[0] == "Revoked"
    assert status_of(kit, enclave={"isvsvn": 2})[0] == "Revoked"
    assert status_of(kit, tee_tcb_svn=bytes([2, 1, 4]) + bytes(13))[0] == "Revoked"


def test_row_40_unknown_status(kit: Kit) -> None:
    """A status word this version does not know decides nothing."""
    assert code_of(kit, kit.bundle(info=top_status("Fantastic"))) == "collateral.tcb-status"
    # Only what is published counts: the two relaunch advices are conclusions, never inputs.
    assert code_of(kit, kit.bundle(info=top_status("TDRelaunchAdvised"))) == "collateral.tcb-status"


def test_row_40_unknown_status_elsewhere(kit: Kit) -> None:
    """An unknown word in a level that does not count changes nothing."""

    def change(value: dict[str, Any]) -> None:
        value["tcbLevels"][2]["tcbStatus"] = "Fantastic"

    assert status_of(kit, kit.bundle(info=change)) == ("UpToDate", ())


def test_row_41_not_supported(kit: Kit) -> None:
    """One component, or the PCESVN, below the lowest level: not supported, and no policy accepts it."""
    low = bytearray(pck.COMPONENTS_UP_TO_DATE)
    low[0] = 1
    for poor in (kit.with_facts(components=bytes(low)), kit.with_facts(pce_svn=4)):
        claims = poor.verify()
        assert (claims.tcb_status, claims.advisories, claims.tcb_date) == (TcbStatus.NOT_SUPPORTED, (), None)
        failed = [s.code for s in AppraisalPolicy.development().appraise(claims, NOW) if s.result is Outcome.FAIL]
        assert failed == ["policy.tcb-status"]


def test_row_42_older_levels(kit: Kit) -> None:
    """Older CPUSVN, older PCESVN, a mix of both, and an older TDX component select the older level."""
    older = ("OutOfDate", ("INTEL-SA-99901",))
    assert status_of(kit.with_facts(components=pck.COMPONENTS_OUT_OF_DATE, pce_svn=11)) == older
    assert status_of(kit.with_facts(pce_svn=12)) == older
    assert status_of(kit.with_facts(components=pck.COMPONENTS_OUT_OF_DATE)) == older
    assert status_of(kit, tee_tcb_svn=bytes([8, 1, 3]) + bytes(13)) == older


def test_row_43_document_order_does_not_matter(kit: Kit) -> None:
    """Reversed and shuffled levels give the same answer."""

    def reverse(value: dict[str, Any]) -> None:
        value["tcbLevels"].reverse()
        value["tdxModuleIdentities"][0]["tcbLevels"].reverse()

    identity = lambda value: value["tcbLevels"].reverse()  # noqa: E731
    assert status_of(kit, kit.bundle(info=reverse, identity=identity)) == ("UpToDate", ())


def test_row_44_module_levels(kit: Kit) -> None:
    """The module's own level converges with the platform's."""
    assert status_of(kit, tee_tcb_svn=bytes([4, 1, 4]) + bytes(13)) == ("OutOfDate", ("INTEL-SA-99903",))
    assert status_of(kit, tee_tcb_svn=bytes([1, 1, 4]) + bytes(13)) == ("TCBNotSupported", ())
    # Version 0: rated by the platform level's first component, and there 5 is enough.
    assert status_of(kit, tee_tcb_svn=bytes([5, 0, 4]) + bytes(13)) == ("UpToDate", ())
    assert status_of(kit, tee_tcb_svn=bytes([4, 0, 4]) + bytes(13))[0] == "OutOfDate"
    assert code_of(kit, quote=kit.quote(tee_tcb_svn=bytes([8, 7, 4]) + bytes(13))) == "evidence.tdx-module"


def test_row_44_first_two_components_are_the_modules(kit: Kit) -> None:
    """With a module version above 0, octets 0 and 1 are not held against the platform level."""

    def change(value: dict[str, Any]) -> None:
        value["tcbLevels"][0]["tcb"]["tdxtcbcomponents"][0]["svn"] = 200
        value["tcbLevels"][0]["tcb"]["tdxtcbcomponents"][1]["svn"] = 200

    assert status_of(kit, kit.bundle(info=change)) == ("UpToDate", ())


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("UpToDate", "OutOfDate"),
        ("SWHardeningNeeded", "OutOfDate"),
        ("ConfigurationNeeded", "OutOfDateConfigurationNeeded"),
        ("ConfigurationAndSWHardeningNeeded", "OutOfDateConfigurationNeeded"),
        ("OutOfDate", "OutOfDate"),
        ("OutOfDateConfigurationNeeded", "OutOfDateConfigurationNeeded"),
        ("Revoked", "Revoked"),
    ],
)
def test_row_45_quoting_enclave_out_of_date(kit: Kit, platform: str, expected: str) -> None:
    """An outdated quoting enclave makes the whole out of date and adds its advisories."""
    bundle = kit.bundle(info=top_status(platform, "INTEL-SA-99905"))
    assert status_of(kit, bundle, enclave={"isvsvn": 3}) == (expected, ("INTEL-SA-99905", "INTEL-SA-99904"))


def test_row_46_relaunch(kit: Kit) -> None:
    """Started under an old module that was since updated in place: relaunch advised."""
    old = bytes([4, 1, 4]) + bytes(13)
    assert status_of(kit, version=5, tee_tcb_svn=old, svn_2=TOP) == ("TDRelaunchAdvised", ("INTEL-SA-99903",))
    needs = kit.bundle(info=top_status("ConfigurationNeeded"))
    found = status_of(kit, needs, version=5, tee_tcb_svn=old, svn_2=TOP)
    assert found[0] == "TDRelaunchAdvisedConfigurationNeeded"


@pytest.mark.parametrize(
    ("svn_2", "enclave"),
    [
        (bytes([7, 1, 4]) + bytes(13), None),
        (bytes([8, 1, 3]) + bytes(13), None),
        (bytes([8, 2, 4]) + bytes(13), None),
        (TOP, {"isvsvn": 3}),
    ],
    ids=["module-not-newest", "microcode-not-newest", "module-unknown", "enclave-out-of-date"],
)
def test_row_46_no_relaunch(kit: Kit, svn_2: bytes, enclave: dict[str, int] | None) -> None:
    """Without a current module, or with another outdated part, out of date stays out of date."""
    old = bytes([4, 1, 4]) + bytes(13)
    assert status_of(kit, version=5, tee_tcb_svn=old, svn_2=svn_2, enclave=enclave)[0] == "OutOfDate"


@pytest.mark.parametrize(
    "enclave",
    [
        {"attributes": bytes.fromhex("1300000000000000e700000000000000")},
        {"mrsigner": bytes(32)},
        {"isvprodid": 1},
        {"miscselect": b"\x01\x00\x00\x00"},
    ],
    ids=["debug", "mrsigner", "prodid", "misc"],
)
def test_row_47_another_quoting_enclave(kit: Kit, enclave: dict[str, Any]) -> None:
    """Each field of the identity is compared under its mask."""
    assert code_of(kit, quote=kit.quote(enclave=enclave)) == "evidence.quoting-enclave"


def test_row_47_below_lowest(kit: Kit) -> None:
    """A quoting enclave below every level is not supported."""
    assert status_of(kit, enclave={"isvsvn": 1}) == ("TCBNotSupported", ())


def crl_at(kit: Kit, *, root: bool, issued: int) -> dict[str, str]:
    """One list with another date."""
    issuer = kit.root if root else kit.platform_ca
    return {("root_ca_crl" if root else "pck_crl"): ca.revocation_list(issuer, (), issued_at=issued).hex()}


def dated(kit: Kit, what: str, issued: int) -> bytes:
    """A bundle whose `what` was issued then, for 30 days."""
    dates = put(issueDate=stamp(issued), nextUpdate=stamp(issued + 30 * DAY))
    if what == "info":
        return kit.bundle(info=dates)
    if what == "identity":
        return kit.bundle(identity=dates)
    return kit.bundle(**crl_at(kit, root=what == "root-crl", issued=issued))


@pytest.mark.parametrize("what", ["info", "identity", "pck-crl", "root-crl"])
def test_rows_48_and_49_dates(kit: Kit, what: str) -> None:
    """Expired and future documents are "cannot tell"; the last and the first second count as valid."""
    for issued, code in ((NOW - 30 * DAY - 1, "collateral.expired"), (NOW + 1, "collateral.not-yet-valid")):
        with pytest.raises(CollateralMissingError) as caught:
            kit.verify(bundle=dated(kit, what, issued))
        assert caught.value.code == code
    for issued in (NOW - 30 * DAY, NOW):
        assert kit.verify(bundle=dated(kit, what, issued)).tcb_status is TcbStatus.UP_TO_DATE


def test_row_48_expiry_is_part_of_the_claims(kit: Kit) -> None:
    """valid_until is the earliest end of everything used."""
    claims = kit.verify(bundle=dated(kit, "info", NOW - 20 * DAY))
    assert claims.valid_until == NOW + 10 * DAY


@pytest.mark.parametrize("now", [-1, 1.5, float("nan"), True, None, "1794700800", 1 << 62])
def test_row_50_times_that_are_none(kit: Kit, now: Any) -> None:
    """Only whole, non-negative seconds decide anything."""
    with pytest.raises(AttestationError) as caught:
        kit.verify(now=now)
    assert caught.value.code == "time.invalid"


@pytest.mark.parametrize("now", [0, 1_500_000_000, 2_208_988_800 + 20 * 365 * DAY])
def test_row_50_times_outside_all_validity(kit: Kit, now: int) -> None:
    """Long before and long after everything, verification refuses with a typed error."""
    assert code_of(kit, now=now) in ("certificate.expired", "certificate.not-yet-valid", "collateral.expired")


def test_row_51_an_older_document_never_wins(kit: Kit) -> None:
    """Of two documents still in their windows the newer counts, in one set and in a merged one."""
    older = kit.bundle(info=lambda v: v.update(issueDate=stamp(NOW - 5 * DAY)))
    newer = kit.bundle(info=top_status("OutOfDate"))
    verifier = Verifier.with_root(kit.root.der)
    for collateral in (
        Collateral.of(older, newer),
        Collateral.of(newer, older),
        Collateral.of(newer).merged(Collateral.of(older)),
        Collateral.of(older).merged(Collateral.of(newer)),
    ):
        claims = verifier.verify(kit.quote(), collateral=collateral, now=NOW)
        assert claims.tcb_status is TcbStatus.OUT_OF_DATE
    assert len(Collateral.of(newer).merged(Collateral.of(older)).tcb_infos) == 1


def test_row_51_newer_than_now_waits(kit: Kit) -> None:
    """A document issued after `now` takes over at its date, also through the cache."""
    later = kit.bundle(
        info=lambda v: (top_status("OutOfDate")(v), v.update(issueDate=stamp(NOW + DAY)))[0],
    )
    collateral = Collateral.of(kit.bundle(), later)
    verifier = Verifier.with_root(kit.root.der)
    quote = kit.quote()
    found = [
        verifier.verify(quote, collateral=collateral, now=now).tcb_status
        for now in (NOW, NOW + DAY - 1, NOW + DAY, NOW)
    ]
    assert found == [TcbStatus.UP_TO_DATE, TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE, TcbStatus.UP_TO_DATE]


@pytest.mark.parametrize(
    ("info", "identity", "refused"),
    [(3, 3, True), (20, 12, True), (20, 18, True), (20, 19, False), (19, 20, False), (12, 12, False), (11, 12, True)],
)
def test_row_52_evaluation_numbers(kit: Kit, info: int, identity: int, refused: bool) -> None:
    """Numbers below the floor, or further apart than one recovery, are refused by policy."""
    bundle = kit.bundle(info=put(tcbEvaluationDataNumber=info), identity=put(tcbEvaluationDataNumber=identity))
    steps = AppraisalPolicy.development().appraise(kit.verify(bundle=bundle), NOW)
    assert [s.code for s in steps if s.result is Outcome.FAIL] == (["policy.tcb-evaluation"] if refused else [])


@pytest.mark.parametrize(
    "change",
    [
        {"fmspc": "00906ED50000"},
        {"pceId": "0001"},
        {"tcbType": 1},
    ],
    ids=["fmspc", "pceid", "type"],
)
def test_row_53_tcb_info_of_another_platform(kit: Kit, change: dict[str, Any]) -> None:
    """TCB info must be for this FMSPC, PCE id and type."""
    assert code_of(kit, kit.bundle(info=put(**change))) == "collateral.mismatch"


def test_row_53_documents_of_the_other_tee(kit: Kit) -> None:
    """SGX documents do not rate a TDX quote."""
    tdx = json.loads(kit.bundle())
    sgx = json.loads(kit.bundle(sgx=True))
    for part in ("tcb_info", "qe_identity"):
        mixed = tdx | {name: value for name, value in sgx.items() if name.startswith(part)}
        assert code_of(kit, json.dumps(mixed).encode()) == "collateral.mismatch"


def respelt(kit: Kit, part: str, spoil: Any) -> bytes:
    """A bundle in which a signed text was changed after signing."""
    value = json.loads(kit.bundle())
    value[part] = spoil(value[part])
    return json.dumps(value).encode()


@pytest.mark.parametrize("part", ["tcb_info", "qe_identity"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: json.dumps(json.loads(text)),
        lambda text: text + " ",
        lambda text: json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")),
        lambda text: text.replace('"UpToDate"', '"\\u0055pToDate"', 1),
    ],
    ids=["re-serialised", "trailing-space", "key-order", "escape"],
)
def test_row_54_signed_bytes_are_the_parsed_bytes(kit: Kit, part: str, spoil: Any) -> None:
    """The same JSON value in other bytes is not what was signed."""
    assert code_of(kit, respelt(kit, part, spoil)) == "collateral.signature"


@pytest.mark.parametrize(("part", "key"), [("tcb_info", "tcbLevels"), ("qe_identity", "isvprodid")])
def test_row_54_duplicate_keys(kit: Kit, part: str, key: str) -> None:
    """A repeated key is refused even under a valid signature."""
    value = json.loads(kit.bundle())
    text = value[part]
    inner = json.loads(text)
    text = text[:-1] + f',"{key}":{json.dumps(inner[key])}}}'
    value[part] = text
    value[f"{part}_signature"] = tcb.raw_signature(kit.tcb_signer.key, text.encode()).hex()
    with pytest.raises(CollateralError) as caught:
        Collateral.of(json.dumps(value).encode())
    assert caught.value.code == "collateral.malformed"


def test_row_55_signatures_swapped(kit: Kit) -> None:
    """Each signature belongs to its document."""
    value = json.loads(kit.bundle())
    value["tcb_info_signature"], value["qe_identity_signature"] = (
        value["qe_identity_signature"],
        value["tcb_info_signature"],
    )
    assert code_of(kit, json.dumps(value).encode()) == "collateral.signature"


@pytest.mark.parametrize("name", ["tcb_info_issuer_chain", "qe_identity_issuer_chain"])
def test_row_55_wrong_issuer_chain(kit: Kit, name: str) -> None:
    """A document that comes with the PCK chain is not saved by the right chain elsewhere in the bundle."""
    bundle = kit.bundle(**{name: kit.chain(nul=False).decode()})
    assert code_of(kit, bundle) == "collateral.signer"


def test_row_55_no_issuer_chain(kit: Kit) -> None:
    """Without any signer certificate nothing can be told."""
    bundle = kit.bundle(tcb_info_issuer_chain=None, qe_identity_issuer_chain=None)
    assert code_of(kit, bundle) == "collateral.missing"


def test_row_56_signed_by_a_pck_key(kit: Kit) -> None:
    """A stolen PCK key signs no TCB info, under its own certificate or one it pretends to have."""
    stolen = Issuer(certificate=kit.leaf, key=kit.pck_key)
    assert code_of(kit, kit.bundle(info_signer=stolen)) == "collateral.signer"
    assert code_of(kit, kit.bundle(identity_signer=stolen)) == "collateral.signer"


def test_row_56_signed_below_the_platform_ca(kit: Kit) -> None:
    """The right name under the Platform CA is not the TCB signer: the root issues it directly."""
    impostor = kits.leaf_under(kit.platform_ca, ca.TCB_SIGNING_NAME)
    assert code_of(kit, kit.bundle(info_signer=impostor)) == "collateral.signer"
    # Naming the root as issuer does not help: the root never signed it.
    look_alike = Issuer(certificate=kit.root.certificate, key=kit.platform_ca.key)
    forged = kits.leaf_under(look_alike, ca.TCB_SIGNING_NAME)
    assert code_of(kit, kit.bundle(info_signer=forged)) == "collateral.signer"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"not_after": NOW - 1}, "collateral.expired"),
        ({"not_before": NOW + 1}, "collateral.expired"),
        ({"ca_path": 0}, "collateral.signer"),
        ({"extension": b"\x05\x00", "critical": True}, "collateral.signer"),
    ],
    ids=["expired", "future", "ca", "critical-extension"],
)
def test_row_56_signer_certificate(kit: Kit, options: dict[str, Any], code: str) -> None:
    """The signer's own certificate is held to all rules."""
    signer = kits.leaf_under(kit.root, ca.TCB_SIGNING_NAME, **options)
    assert code_of(kit, kit.bundle(info_signer=signer)) == code


def test_row_56_root_directly_under_another_name(kit: Kit) -> None:
    """A certificate the root issued directly under another name is no TCB signer."""
    assert code_of(kit, kit.bundle(identity_signer=kits.leaf_under(kit.root, "Intel SGX Other"))) == "collateral.signer"


def test_row_57_revoked_certificates(kit: Kit) -> None:
    """Every certificate used is asked about: leaf, intermediate, signer, root."""
    serial = lambda issuer: issuer.certificate.serial_number  # noqa: E731
    assert code_of(kit, kit.bundle(revoked=(kit.leaf.serial_number,))) == "certificate.revoked"
    assert code_of(kit, kit.bundle(root_revoked=(serial(kit.platform_ca),))) == "certificate.revoked"
    assert code_of(kit, kit.bundle(root_revoked=(serial(kit.tcb_signer),))) == "certificate.revoked"
    assert code_of(kit, kit.bundle(root_revoked=(serial(kit.root),))) == "certificate.revoked"
    assert kit.verify(bundle=kit.bundle(revoked=(1, 2, 3), root_revoked=(4,))).tcb_status is TcbStatus.UP_TO_DATE


def test_row_57_revoked_by_an_outdated_list(kit: Kit) -> None:
    """A list past its date still revokes whom it names."""
    issued = NOW - 40 * DAY
    old = ca.revocation_list(kit.platform_ca, (kit.leaf.serial_number,), issued_at=issued).hex()
    assert code_of(kit, kit.bundle(pck_crl=old)) == "certificate.revoked"


def test_row_58_lists_by_the_wrong_issuer(kit: Kit) -> None:
    """Wrong key, wrong CA, the root's list twice, none, and a flipped bit."""
    other_key = Issuer(certificate=kit.platform_ca.certificate, key=kit.root.key)
    forged = ca.revocation_list(other_key, (), issued_at=NOW - DAY)
    assert code_of(kit, kit.bundle(pck_crl=forged.hex())) == "collateral.crl"
    processor = ca.revocation_list(kit.processor_ca, (), issued_at=NOW - DAY)
    assert code_of(kit, kit.bundle(pck_crl=processor.hex())) == "collateral.missing"
    assert code_of(kit, kit.bundle(pck_crl=json.loads(kit.bundle())["root_ca_crl"])) == "collateral.missing"
    assert code_of(kit, kit.bundle(pck_crl=None, pck_crl_issuer_chain=None)) == "collateral.missing"
    assert code_of(kit, kit.bundle(root_ca_crl=None)) == "collateral.missing"
    good = bytearray.fromhex(json.loads(kit.bundle())["pck_crl"])
    good[-1] ^= 1
    assert code_of(kit, kit.bundle(pck_crl=good.hex())) == "collateral.crl"
    with pytest.raises(CollateralError):
        Collateral.of(kit.bundle(pck_crl=""))


def test_row_58_list_with_another_issuers_chain(kit: Kit) -> None:
    """A list that came with another CA's chain was meant for another machine."""
    chain = (kit.processor_ca.pem + kit.root.pem).decode()
    assert code_of(kit, kit.bundle(pck_crl_issuer_chain=chain)) == "collateral.crl"


def test_row_58_issuer_that_may_not_sign_lists(kit: Kit) -> None:
    """An authority whose key usage does not name lists cannot say who is revoked."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = kits.certify(kit.root, ca.PLATFORM_CA_NAME, key, ca_path=0, signs_lists=False)
    issuer = Issuer(certificate=certificate, key=key)
    leaf = pck.pck_certificate(issuer, kit.pck_key.public_key(), kit.facts)
    assert code_of(replace(kit, platform_ca=issuer, leaf=leaf)) == "collateral.crl"


@pytest.mark.parametrize("part", ["tcb_info", "qe_identity"])
def test_row_53_document_not_there(kit: Kit, part: str) -> None:
    """A bundle without one of the two documents is missing something, not wrong."""
    absent = {f"{part}{suffix}": None for suffix in ("", "_signature", "_issuer_chain")}
    assert code_of(kit, kit.bundle(**absent)) == "collateral.missing"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("info", put(id="ARM")),
        ("info", put(version=2)),
        ("info", put(version=4)),
        ("info", lambda v: v["tdxModuleIdentities"].append(v["tdxModuleIdentities"][0])),
        ("info", lambda v: v["tcbLevels"][0]["tcb"]["sgxtcbcomponents"].pop()),
        ("info", lambda v: v["tcbLevels"][0]["tcb"]["tdxtcbcomponents"].append({"svn": 0})),
        ("info", lambda v: v["tcbLevels"][0]["tcb"].pop("tdxtcbcomponents")),
        ("info", put(fmspc="00")),
        ("info", put(tcbLevels={})),
        ("info", put(issueDate="yesterday")),
        ("info", put(tcbType="0")),
        ("info", put(tcbEvaluationDataNumber=True)),
        ("info", lambda v: v["tcbLevels"][0].update(advisoryIDs=[1])),
        ("info", lambda v: v["tcbLevels"][0].pop("tcbStatus")),
        ("info", lambda v: v["tcbLevels"][0]["tcb"]["sgxtcbcomponents"][0].update(svn=256)),
        ("info", lambda v: v["tcbLevels"][0]["tcb"].update(pcesvn=-1)),
        ("identity", put(version=1)),
        ("identity", put(version=3)),
        ("identity", put(mrsigner="zz" * 32)),
        ("identity", put(miscselectMask="FF")),
        ("identity", put(tcbLevels=[1])),
    ],
)  # fmt: skip
def test_row_62_signed_documents_of_a_wrong_shape(kit: Kit, part: str, change: Any) -> None:
    """Even under a valid signature, every member has its type and length."""
    bundle = kit.bundle(info=change) if part == "info" else kit.bundle(identity=change)
    with pytest.raises(CollateralError) as caught:
        Collateral.of(bundle)
    assert caught.value.code == "collateral.malformed"


@pytest.mark.parametrize("extension", ["delta", "scope"])
def test_row_58_incomplete_lists(kit: Kit, extension: str) -> None:
    """Delta lists and lists of restricted scope are not the whole truth."""
    start = datetime.fromtimestamp(NOW - DAY, UTC)
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=kit.platform_ca.certificate.subject, last_update=start, next_update=start + timedelta(days=30)
    )
    if extension == "delta":
        builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    else:
        scope = x509.IssuingDistributionPoint(
            full_name=None,
            relative_name=None,
            only_contains_user_certs=True,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
        builder = builder.add_extension(scope, critical=True)
    signed = builder.sign(kit.platform_ca.key, hashes.SHA256())
    encoded = signed.public_bytes(kits.Encoding.DER).hex()
    with pytest.raises(CollateralError):
        kit.verify(bundle=kit.bundle(pck_crl=encoded))


def test_row_59_a_shorter_newer_list_counts(kit: Kit) -> None:
    """Lists may shrink: the newer one decides, whichever is longer."""
    long = kit.bundle(revoked=(kit.leaf.serial_number, 5, 6), issued=NOW - 2 * DAY)
    short = kit.bundle(revoked=(5,), issued=NOW - DAY)
    verifier = Verifier.with_root(kit.root.der)
    claims = verifier.verify(kit.quote(), collateral=Collateral.of(long, short), now=NOW)
    assert claims.tcb_status is TcbStatus.UP_TO_DATE
    with pytest.raises(AttestationError):
        verifier.verify(kit.quote(), collateral=Collateral.of(long, short), now=NOW - DAY - 1)


def with_leaf(kit: Kit, issuer: Issuer, name: str = "Intel SGX PCK Certificate", **options: Any) -> bytes:
    """A quote whose leaf was made with these options under `issuer`."""
    options = {"extension": pck.sgx_extension(kit.facts)} | options
    leaf = kits.certify(issuer, name, kit.pck_key, **options)
    return kit.quote(chain=kits.pem(leaf) + issuer.pem + kit.root.pem)


def test_row_60_look_alike_root(kit: Kit) -> None:
    """A chain under a root of the same name is refused, alone and with the real root swapped in."""
    evil = Kit.create()
    assert code_of(kit, evil.bundle(), quote=evil.quote()) == "certificate.root"
    swapped = kits.pem(evil.leaf) + evil.platform_ca.pem + kit.root.pem
    assert code_of(kit, quote=evil.quote(chain=swapped)) == "certificate.signature"


def test_row_60_leaf_issuers(kit: Kit) -> None:
    """Only the Platform or Processor CA issues PCK certificates."""
    assert code_of(kit, quote=with_leaf(kit, kit.tcb_signer)) == "certificate.role"
    direct = kits.certify(kit.root, "Intel SGX PCK Certificate", kit.pck_key, extension=pck.sgx_extension(kit.facts))
    chain = kits.pem(direct) + kit.root.pem + kit.root.pem
    assert code_of(kit, quote=kit.quote(chain=chain)) == "certificate.role"
    named = kits.leaf_under(kit.root, "Intel SGX PCK Platform CA", signs_certificates=True)
    assert code_of(kit, quote=with_leaf(kit, named)) == "certificate.issuer"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"ca_path": 0}, "certificate.role"),
        ({"not_after": NOW - 1}, "certificate.expired"),
        ({"not_before": NOW + 1}, "certificate.not-yet-valid"),
        ({"extension": None}, "certificate.sgx-extension"),
        ({"name": "Intel SGX TCB Signing"}, "certificate.role"),
    ],
    ids=["is-ca", "expired", "future", "no-extension", "other-name"],
)
def test_row_60_leaf_certificate(kit: Kit, options: dict[str, Any], code: str) -> None:
    """The leaf's own role, validity and extension."""
    assert code_of(kit, quote=with_leaf(kit, kit.platform_ca, **options)) == code


def test_row_60_critical_extension_and_key_type(kit: Kit) -> None:
    """An extension marked critical that is not understood, and a leaf key on another curve."""
    assert code_of(kit, quote=with_leaf(kit, kit.platform_ca, critical=True)) == "certificate.extension"
    large = ec.generate_private_key(ec.SECP384R1())
    leaf = kits.certify(kit.platform_ca, "Intel SGX PCK Certificate", large, extension=pck.sgx_extension(kit.facts))
    chain = kits.pem(leaf) + kit.platform_ca.pem + kit.root.pem
    assert code_of(kit, quote=kit.quote(chain=chain)) == "certificate.key"


def test_row_60_expired_root() -> None:
    """A trusted root past its validity vouches for nothing."""
    kit = Kit.create()
    root = kits.self_signed("Holdfast Simulated Short", not_after=NOW - 1)
    platform_ca = kits.intermediate(root, ca.PLATFORM_CA_NAME)
    leaf = pck.pck_certificate(platform_ca, kit.pck_key.public_key(), kit.facts)
    old = replace(kit, root=root, platform_ca=platform_ca, leaf=leaf)
    assert code_of(old) == "certificate.expired"


def test_row_60_intermediate(kit: Kit) -> None:
    """An intermediate that is expired, no CA, or below another intermediate."""
    for issuer, code in (
        (expired_intermediate(kit), "certificate.expired"),
        (kits.leaf_under(kit.root, "Intel SGX PCK Platform CA"), "certificate.issuer"),
        (kits.intermediate(kit.platform_ca, "Intel SGX PCK Platform CA"), "certificate.issuer"),
    ):
        assert code_of(kit, quote=with_leaf(kit, issuer)) == code


def expired_intermediate(kit: Kit) -> Issuer:
    """A Platform CA past its validity."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = kits.certify(kit.root, "Intel SGX PCK Platform CA", key, ca_path=0, not_after=NOW - 1)
    return Issuer(certificate=certificate, key=key)


def test_row_61_blank_ppid(kit: Kit) -> None:
    """A blank PPID is no platform id; the evidence itself stands."""
    assert kit.with_facts(ppid=bytes(16)).verify().platform_id is None


@pytest.mark.parametrize(
    "changes",
    [
        {"m1": der.octets(bytes(8))},
        {"m1": der.octets(bytes(17))},
        {"m1": None},
        {"m4": None},
        {"m3": der.octets(bytes(3))},
        {"m5": der.integer(3, der.ENUMERATED)},
        {"m5": der.integer(0)},
        {"m2": der.sequence()},
        {"m6": der.octets(bytes(15))},
        {"m7": der.boolean(True)},
        {"m8": der.octets(bytes(16))},
        {"m1": der.sequence(der.octets(bytes(16)))},
        {"m1": der.octets(bytes(16)) + der.octets(b"")},
    ],
    ids=[
        "ppid-short", "ppid-long", "no-ppid", "no-fmspc", "pceid-long", "type-3", "type-integer", "no-tcb",
        "instance-short", "configuration-type", "unknown-member", "nested", "two-values",
    ],
)  # fmt: skip
def test_row_61_malformed_extension(kit: Kit, changes: dict[str, bytes | None]) -> None:
    """Every member once, in its type and length, and none unknown."""
    spoilt = kit.with_extension(kits.extension_members(kit.facts, **changes))
    assert code_of(spoilt) == "certificate.sgx-extension"


def spoilt_extensions(kit: Kit) -> dict[str, bytes]:
    """Extensions that are right but for one thing a lenient reader would overlook."""
    prefix = pck.SGX_EXTENSION
    right = kits.extension_members(kit.facts)
    member = der.sequence(der.oid(f"{prefix}.1"), der.octets(kit.facts.ppid))
    flag = der.sequence(der.oid(f"{prefix}.7.1"), der.boolean(True) + der.boolean(True))
    return {
        "trailing": right + b"\x05\x00",
        "member-twice": der.sequence(right[_head(right) :] + member),
        "number-twice": kits.extension_members(kit.facts, m5=der.integer(1, der.ENUMERATED) * 2),
        "flag-twice": kits.extension_members(kit.facts, m7=der.sequence(flag)),
        "foreign-prefix": der.sequence(
            right[_head(right) :] + der.sequence(der.oid("1.2.840.1.6"), der.octets(bytes(16)))
        ),
    }


def _head(sequence: bytes) -> int:
    return 2 + (sequence[1] & 0x7F if sequence[1] & 0x80 else 0)


@pytest.mark.parametrize("name", ["trailing", "member-twice", "number-twice", "flag-twice", "foreign-prefix"])
def test_row_61_ambiguous_extension(kit: Kit, name: str) -> None:
    """Nothing may follow, nothing may come twice."""
    assert code_of(kit.with_extension(spoilt_extensions(kit)[name])) == "certificate.sgx-extension"


def test_row_61_the_unspoilt_extension_is_accepted(kit: Kit) -> None:
    """Members 6 and 7 are optional: their absence alone spoils nothing."""
    claims = kit.with_extension(kits.extension_members(kit.facts)).verify()
    assert "smt" not in claims.flags


def test_row_61_components_against_cpusvn(kit: Kit) -> None:
    """The component numbers and the CPUSVN octets say the same."""
    other = replace(kit.facts, components=bytes(16))
    prefix = pck.SGX_EXTENSION
    members = [der.sequence(der.oid(f"{prefix}.2.{i + 1}"), der.integer(0)) for i in range(16)]
    members.append(der.sequence(der.oid(f"{prefix}.2.17"), der.integer(13)))
    members.append(der.sequence(der.oid(f"{prefix}.2.18"), der.octets(kit.facts.components)))
    spoilt = kit.with_extension(kits.extension_members(other, m2=der.sequence(*members)))
    assert code_of(spoilt) == "certificate.sgx-extension"


@pytest.mark.parametrize(
    "blob",
    [
        b'{"tcbInfo":' + b" " * (50 << 20) + b"}",
        b'{"tcbInfo":' + b"[" * 100_000 + b"]" * 100_000 + b',"signature":"00"}',
        b'{"tcbInfo":{"tcbLevels":[' + b"1," * 500_000 + b'1]},"signature":"' + b"00" * 64 + b'"}',
        b'{"tcbInfo":{"id":"\\ud800"},"signature":"' + b"00" * 64 + b'"}',
        b'{"tcbInfo":{"id":1e400},"signature":"' + b"00" * 64 + b'"}',
        b'{"tcbInfo":{"version":NaN},"signature":"' + b"00" * 64 + b'"}',
        b"\xff\xfe{}",
        b"",
        b"{",
        b'{"tcb_info":1}',
        b'{"tcb_info":"{}","surprise":"x"}',
    ],
    ids=[
        "50-MB", "depth", "levels", "surrogate", "float", "nan", "utf-16", "empty", "cut", "type", "unknown-member",
    ],
)  # fmt: skip
def test_row_62_hostile_json(blob: bytes) -> None:
    """Size and depth are capped before parsing, and every oddity is a typed error."""
    with pytest.raises(CollateralError):
        Collateral.of(blob)


def test_a_forged_quote_is_refused_even_without_collateral(kit: Kit) -> None:
    """What needs no collateral comes first: "cannot tell" never hides a forgery."""
    verifier = Verifier.with_root(kit.root.der)
    policy = AppraisalPolicy.development()
    forged = kit.quote(quote_signer=kit.pck_key)
    assert verifier.examine(forged, now=NOW, policy=policy).result is Result.UNTRUSTED
    assert verifier.examine(kit.quote(), now=NOW, policy=policy).result is Result.INDETERMINATE
