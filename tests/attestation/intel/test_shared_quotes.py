"""Genuine quotes with genuine collateral, at the times recorded for them: status and advisories as established."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from attestation.collateral import Collateral
from attestation.errors import AttestationError
from attestation.evidence import Claims
from attestation.intel.quote import parse_quote
from attestation.policy import AppraisalPolicy
from attestation.verdict import Outcome
from attestation.verifier import Verifier
from tests.attestation import shared_vectors as shared

pytestmark = shared.NEEDED

QUOTES = [entry for entry in shared.entries("dcap-quote") if entry.get("verifications")]
CASES = [(quote, case) for quote in QUOTES for case in quote["verifications"]]
VERIFIER = Verifier.production()


def collateral_of(case: dict[str, Any]) -> Collateral:
    """The recorded documents, each as its own blob."""
    return _collateral(
        *(case[name] for name in ("tcb_info", "qe_identity", "pck_crl", "root_ca_crl")),
        *(f"intel/certs/{name}.der" for name in case["tcb_signing"]),
    )


@cache
def _collateral(*files: str) -> Collateral:
    return Collateral.of(*(shared.read(file) for file in files))


def verified(quote: dict[str, Any], case: dict[str, Any]) -> Claims:
    """Claims at the recorded time."""
    return VERIFIER.verify(shared.read(quote["file"]), collateral=collateral_of(case), now=case["now_used_unix"])


def name_of(value: Any) -> str:
    """Readable test ids."""
    return value["id"] if "id" in value else value["now_used"][:10]


@pytest.mark.parametrize(("quote", "case"), CASES, ids=name_of)
def test_status_and_advisories(quote: dict[str, Any], case: dict[str, Any]) -> None:
    """Each recorded quote, collateral and time gives the recorded status and advisories, or the recorded refusal."""
    expected = case["independent"]
    if "error" in expected:
        with pytest.raises(AttestationError):
            verified(quote, case)
        return
    claims = verified(quote, case)
    status = "TCBNotSupported" if expected["status"].startswith("NotSupported") else expected["status"]
    assert (claims.tcb_status, set(claims.advisories)) == (status, set(expected["advisories"]))
    assert claims.root == "intel"
    assert str(claims.platform_id) == f"intel:ppid:{quote['ppid']}"
    assert claims.details["fmspc"].upper() == quote["fmspc"]
    assert claims.report_data.hex() == quote["report_data"]


@pytest.mark.parametrize(("quote", "case"), [c for c in CASES if "bundle" in c[1]], ids=name_of)
def test_bundles_give_the_same_answer(quote: dict[str, Any], case: dict[str, Any]) -> None:
    """A ready bundle and its single documents are the same collateral."""
    evidence, now = shared.read(quote["file"]), case["now_used_unix"]
    bundle = Collateral.of(shared.read(case["bundle"]))
    if "error" in case["independent"]:
        with pytest.raises(AttestationError):
            VERIFIER.verify(evidence, collateral=bundle, now=now)
        return
    assert VERIFIER.verify(evidence, collateral=bundle, now=now) == verified(quote, case)


GENUINE = [quote for quote in QUOTES if "error" not in quote["verifications"][0]["independent"]]


@pytest.mark.parametrize("quote", GENUINE, ids=name_of)
def test_default_policy_on_genuine_quotes(quote: dict[str, Any]) -> None:
    """The default policy refuses exactly what the manifest's tags name, besides the TCB status."""
    rules = {
        "debug": "policy.debug",
        "no-sept-ve-disable": "policy.sept-ve-disable",
        "service-td": "policy.service-td",
        "perfmon": "policy.perfmon",
        "pks": None,
    }
    case = quote["verifications"][0]
    claims = verified(quote, case)
    steps = AppraisalPolicy.production().appraise(claims, case["now_used_unix"])
    refused = {step.code for step in steps if step.result is Outcome.FAIL} - {"policy.tcb-status"}
    assert refused == {rules[tag] for tag in quote["tags"]} - {None}


def padded() -> list[dict[str, Any]]:
    """Quotes as fixed-size buffers return them."""
    return shared.entries("dcap-quote-padded")


@pytest.mark.parametrize("entry", padded(), ids=name_of)
def test_padded_buffers(entry: dict[str, Any]) -> None:
    """A quote in an 8000-byte buffer is the quote itself."""
    original = next((quote for quote in shared.entries("dcap-quote") if quote["id"] == entry["quote_id"]), None)
    if original is None:
        pytest.skip("the unpadded quote is not in the folder")
    assert parse_quote(shared.read(entry["file"])) == parse_quote(shared.read(original["file"]))


def parse_only() -> list[dict[str, Any]]:
    """Evidence of kinds that are not supported or damaged."""
    return [e for e in shared.entries("dcap-quote") if e["expected_verdict"] == "parse-only"]


@pytest.mark.parametrize("entry", parse_only(), ids=name_of)
def test_unsupported_or_damaged_evidence(entry: dict[str, Any]) -> None:
    """Pre-production roots, encrypted PPIDs and damaged chains are refused with typed errors."""
    with pytest.raises(AttestationError):
        VERIFIER.verify(shared.read(entry["file"]), now=1_760_000_000)


def test_rollback_between_two_genuine_documents() -> None:
    """Of two genuine TCB infos that are both current, the older one loses in every order."""
    infos = [e for e in shared.entries("intel-tcb-info") if e["fmspc"] == "B0C06F000000" and e["tee"] == "TDX"]
    older, newer = sorted(infos, key=lambda e: e["issue_date"])[-2:]
    now = shared.unix("2026-08-28T05:21:24Z")
    for order in ((older, newer), (newer, older)):
        collateral = Collateral.of(*(shared.read(entry["file"]) for entry in order))
        item, _ = collateral.tcb_info_for(collateral.tcb_infos[0].info.tee, bytes.fromhex("B0C06F000000"), now)
        assert item is not None
        assert item.info.issued == shared.unix(newer["issue_date"])


def test_genuine_list_that_shrank() -> None:
    """Two lists of one day, 129 and 57 entries: the later one counts, though it is the shorter."""
    lists = [e for e in shared.entries("x509-crl") if e["this_update"].startswith("2026-07-16")]
    platform = [e for e in lists if e["issuer"] == "Intel SGX PCK Platform CA"]
    collateral = Collateral.of(*(shared.read(entry["file"]) for entry in platform))
    issuer = collateral.crls[0].crl.issuer
    before, changes = collateral.crl_of(issuer, shared.unix("2026-07-16T10:00:00Z"))
    after, _ = collateral.crl_of(issuer, shared.unix("2026-07-16T12:00:00Z"))
    assert before is not None
    assert after is not None
    assert (len(before.crl.serials), len(after.crl.serials)) == (129, 57)
    assert changes == after.crl.this_update


def test_every_genuine_certificate_and_list_parses() -> None:
    """The whole folder of vendor documents loads as one set and survives the round trip."""
    collateral = Collateral.load([shared.ROOT / "intel"])
    assert len(collateral.tcb_infos) >= len(shared.entries("intel-tcb-info"))
    assert Collateral.of(*collateral.blobs()).digest == collateral.digest


@pytest.mark.parametrize("quote", QUOTES, ids=name_of)
def test_the_whole_folder_as_collateral(quote: dict[str, Any]) -> None:
    """Choosing by time from everything ever published gives an answer no better than the recorded one."""
    collateral = everything()
    for case in quote["verifications"]:
        expected = case["independent"]
        if "error" in expected:
            continue
        claims = VERIFIER.verify(shared.read(quote["file"]), collateral=collateral, now=case["now_used_unix"])
        if expected["status"] != "UpToDate":
            assert claims.tcb_status != "UpToDate", case["now_used"]


@cache
def everything() -> Collateral:
    """All published Intel documents at once."""
    return Collateral.load([shared.ROOT / "intel"])
