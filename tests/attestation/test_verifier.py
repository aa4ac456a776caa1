"""The front door: which parser runs, which steps are recorded, and what further checks add."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from attestation.canonical import canonical_json
from attestation.collateral import Collateral
from attestation.errors import AttestationError, EvidenceError, StatementError
from attestation.evidence import Claims, Tee, detect
from attestation.platforms import STEPS
from attestation.policy import AppraisalPolicy
from attestation.verdict import Outcome, Result, Trace, Verdict
from attestation.verifier import Verifier
from tests.attestation import shared_vectors as shared
from tests.attestation.intel.kit import NOW, Kit

POLICY = AppraisalPolicy.development()


@pytest.fixture(scope="module")
def kit() -> Kit:
    """One simulated vendor with one machine."""
    return Kit.create()


def examine(kit: Kit, evidence: bytes, **options: object) -> Verdict:
    """The verdict with the kit's collateral."""
    collateral = Collateral.of(kit.bundle())
    return kit.verifier.examine(evidence, **({"collateral": collateral, "now": NOW, "policy": POLICY} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("evidence", "tee"),
    [
        (b"\x84" + bytes(100), Tee.NITRO),
        (b"\xd2\x84" + bytes(100), Tee.NITRO),
        (b"\x02\x00\x00\x00" + bytes(1180), Tee.SEV_SNP),
        (b"\x05\x00\x00\x00" + bytes(1180), Tee.SEV_SNP),
        (b"\x04\x00\x02\x00\x81\x00\x00\x00" + bytes(100), Tee.TDX),
        (b"\x03\x00\x02\x00\x00\x00\x00\x00" + bytes(100), Tee.SGX),
    ],
)
def test_detection(evidence: bytes, tee: Tee) -> None:
    """The first bytes tell the platform."""
    assert detect(evidence) is tee


@pytest.mark.parametrize("evidence", [b"", b"\x00", bytes(2000), b"\xff" * 2000, b"hello world" * 50])
def test_nothing_known(kit: Kit, evidence: bytes) -> None:
    """Anything else is an unknown format, in `verify` and as the one failed step of a verdict."""
    with pytest.raises(EvidenceError) as caught:
        detect(evidence)
    assert caught.value.code == "evidence.unknown-format"
    verdict = examine(kit, evidence)
    assert (verdict.result, verdict.reasons, verdict.tee) == (Result.UNTRUSTED, ("evidence.unknown-format",), None)
    assert [step.step for step in verdict.steps] == ["1", "7", "8"]


@pytest.mark.parametrize("kind", ["snp-report", "nitro-document", "dcap-quote"])
@shared.NEEDED
def test_evidence_under_another_platforms_header(kind: str) -> None:
    """Evidence of one platform behind another's first bytes is refused by that platform's parser."""
    entry = next(entry for entry in shared.entries(kind) if entry["expected_verdict"] != "parse-only")
    evidence = shared.read(entry["file"])
    for prefix in (
        b"\x84\x44",
        b"\x02\x00\x00\x00",
        b"\x04\x00\x02\x00\x81\x00\x00\x00",
        b"\x03\x00\x02\x00" + bytes(4),
    ):
        if evidence.startswith(prefix):
            continue
        with pytest.raises(AttestationError):
            Verifier.production().verify(prefix + evidence[len(prefix) :], now=1_760_000_000)


def test_steps_of_a_trusted_verdict(kit: Kit) -> None:
    """Every Intel step passes, then binding and policy."""
    verdict = examine(kit, kit.quote(), expected_report_data=bytes(range(64)))
    assert verdict.result is Result.TRUSTED
    numbers = [step.step for step in verdict.steps]
    assert numbers[: len(STEPS[Tee.TDX])] == [number for number, _ in STEPS[Tee.TDX]]
    assert [(step.step, step.name) for step in verdict.steps][: len(STEPS[Tee.TDX])] == list(STEPS[Tee.TDX])
    assert len(numbers) == len(set(numbers))


def test_steps_after_a_failure_are_skipped(kit: Kit) -> None:
    """The failed step has its reason and code, later ones are skipped, none is lost."""
    verdict = examine(kit, kit.quote(bound_key=bytes(64)))
    outcomes = {step.step: step.result for step in verdict.steps}
    assert set(outcomes) == {number for number, _ in STEPS[Tee.TDX]} | {"7", "8"}
    failed = [step for step in verdict.steps if step.result is Outcome.FAIL]
    assert [(step.step, step.code) for step in failed] == [("3.2", "evidence.key-binding")]
    assert outcomes["3.1"] is Outcome.PASS
    assert outcomes["3.3"] is outcomes["5.4"] is Outcome.SKIPPED
    assert verdict.claims is None


@pytest.mark.parametrize(("kind", "tee"), [("snp-report", Tee.SEV_SNP), ("nitro-document", Tee.NITRO)])
@shared.NEEDED
def test_steps_of_the_other_platforms(kind: str, tee: Tee) -> None:
    """The listed steps of each platform are those its verifier records, in order and by name."""
    entry = next(entry for entry in shared.entries(kind) if str(entry["expected_verdict"]).startswith("valid"))
    files = [*entry.get("endorsement_certs", []), *(e["file"] for e in shared.entries("x509-cert"))]
    collateral = Collateral.of(*(shared.read(file) for file in files))
    at = entry.get("timestamp") or entry["verification"]["now_min"]
    now = shared.unix(at.replace(" ", "T"))
    verdict = Verifier.production().examine(shared.read(entry["file"]), collateral=collateral, now=now, policy=POLICY)
    verified = [(step.step, step.name) for step in verdict.steps if step.step < "7"]
    assert verified == list(STEPS[tee])


@dataclass
class Statement:
    """A further check that stands or falls."""

    stands: bool
    name: str = "proof of cloud"

    def check(self, claims: Claims, now: int) -> None:
        """Raise unless it stands."""
        assert claims.tee is Tee.TDX
        assert now == NOW
        if not self.stands:
            raise StatementError("not listed", code="proof-of-cloud.not-listed")


def test_statements(kit: Kit) -> None:
    """Each statement is one more step; one that falls makes the whole untrusted."""
    verdict = examine(kit, kit.quote(), statements=[Statement(True), Statement(False)])
    found = [(step.step, step.result, step.code) for step in verdict.steps[-2:]]
    assert found == [("9.1", Outcome.PASS, None), ("9.2", Outcome.FAIL, "proof-of-cloud.not-listed")]
    assert (verdict.result, verdict.reasons) == (Result.UNTRUSTED, ("proof-of-cloud.not-listed",))
    assert examine(kit, kit.quote(), statements=[Statement(True)]).result is Result.TRUSTED


def test_verdicts_are_canonical_json(kit: Kit) -> None:
    """Trusted, refused and undecided verdicts all have a canonical JSON form with the documented members."""
    for verdict in (
        examine(kit, kit.quote()),
        examine(kit, b""),
        kit.verifier.examine(kit.quote(), now=NOW, policy=POLICY),
        examine(kit, kit.quote(), now=-1),
    ):
        value = verdict.to_json()
        assert canonical_json(value)
        assert {"result", "tee", "root", "tcb_status", "advisories", "platform_id", "evidence_id"} <= set(value)
        assert {"report_data", "measurements", "steps", "reasons", "verified_at"} <= set(value)


def test_views_are_evidence_too(kit: Kit) -> None:
    """A bytearray or memoryview is read once and copied."""
    quote, collateral = kit.quote(), Collateral.of(kit.bundle())
    for view in (bytearray(quote), memoryview(quote)):
        assert kit.verifier.verify(view, collateral=collateral, now=NOW).evidence_id  # type: ignore[arg-type]


def test_a_verifier_shares_nothing_with_another(kit: Kit) -> None:
    """What one verifier has accepted under its root, another under another root still refuses."""
    collateral = Collateral.of(kit.bundle())
    kit.verifier.verify(kit.quote(), collateral=collateral, now=NOW)
    with pytest.raises(AttestationError) as caught:
        Verifier.production().verify(kit.quote(), collateral=collateral, now=NOW)
    assert caught.value.code == "certificate.root"


def test_trace_records_and_raises() -> None:
    """A step that raises is recorded as failed and the error travels on."""
    trace = Trace()
    with pytest.raises(EvidenceError), trace.step("1", "first"):
        raise EvidenceError("bad", code="evidence.malformed")
    trace.skip("2", "second", "because")
    assert [(step.step, step.result, step.reason) for step in trace.steps] == [
        ("1", Outcome.FAIL, "bad"),
        ("2", Outcome.SKIPPED, "because"),
    ]
