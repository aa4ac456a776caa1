"""Rows 103 and 104: what comes as a bundle is read as a whole, and never older than what is at hand."""

from __future__ import annotations

import pytest

from attestation.collateral import Collateral
from attestation.errors import AttestationError, CollateralError
from attestation.evidence import TcbStatus
from attestation.roots import Roots
from attestation.verifier import Verifier
from tests.attestation.intel.kit import DAY, NOW, Kit, put, stamp, top_status
from tests.vectors.catalogue import every_case


@pytest.fixture(scope="module")
def kit() -> Kit:
    """One simulated vendor with one machine."""
    return Kit.create()


@pytest.mark.parametrize("name", ["intel-ok-v4", "snp-ok", "nitro-ok"])
def test_row_103_second_evidence_behind_the_first(name: str) -> None:
    """Row 103: two pieces of evidence in one are refused, they are never judged by the first alone."""
    case = next(case for case in every_case() if case.name == name)
    verifier = Verifier.with_root(*case.roots)
    with pytest.raises(AttestationError):
        verifier.verify(case.evidence * 2, collateral=Collateral.of(*case.collateral), now=case.now)


def test_row_103_repeated_and_unknown_members_of_a_bundle(kit: Kit) -> None:
    """Row 103: a bundle that names a document twice, or holds something unknown, is refused whole."""
    bundle = kit.bundle()
    for bad in (bundle[:-1] + b',"tcb_info":"{}"}', bundle[:-1] + b',"second_quote":""}'):
        with pytest.raises(CollateralError):
            Collateral.of(bad)


def test_row_104_older_collateral_of_the_prover_does_not_win(kit: Kit) -> None:
    """Row 104: of the verifier's own and the prover's collateral the newer document counts, whoever holds it."""

    def revised(value: dict[str, object]) -> None:
        top_status("OutOfDate")(value)
        put(issueDate=stamp(NOW - DAY + 60), tcbEvaluationDataNumber=21)(value)

    older, newer = Collateral.of(kit.bundle()), Collateral.of(kit.bundle(info=revised))
    roots = Roots.of([kit.root.der])
    for held, given in ((newer, older), (older, newer)):
        claims = Verifier(roots, held).verify(kit.quote(), collateral=given, now=NOW)
        assert claims.tcb_status is TcbStatus.OUT_OF_DATE
    alone = Verifier(roots, older).verify(kit.quote(), now=NOW)
    assert alone.tcb_status is TcbStatus.UP_TO_DATE
