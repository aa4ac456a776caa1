"""The kit's unchanged evidence is accepted: otherwise every refusal below would prove nothing."""

from __future__ import annotations

import pytest

from attestation.evidence import TcbStatus, Tee
from tests.attestation.intel.kit import NOW, Kit, td_report


def test_the_unchanged_tdx_quote_verifies(kit: Kit) -> None:
    """A version 4 quote over the kit's machine is UpToDate under a simulated root."""
    claims = kit.verify()
    assert (claims.tee, claims.tcb_status, claims.advisories) == (Tee.TDX, TcbStatus.UP_TO_DATE, ())
    assert claims.root == "simulated"
    assert str(claims.platform_id) == "intel:ppid:" + bytes(range(1, 17)).hex()
    assert claims.report_data == bytes(range(64))
    assert claims.valid_until > NOW


def test_the_unchanged_sgx_quote_verifies(kit: Kit) -> None:
    """A version 3 quote is judged with the SGX documents."""
    claims = kit.verify(kit.quote(version=3), kit.bundle(sgx=True))
    assert (claims.tee, claims.tcb_status) == (Tee.SGX, TcbStatus.UP_TO_DATE)
    assert claims.measurements == {"mrenclave": "11" * 32, "mrsigner": "22" * 32}


@pytest.mark.parametrize("body_type", [2, 3])
def test_both_version_5_bodies_verify(kit: Kit, body_type: int) -> None:
    """Version 5 carries a TD 1.0 or a TD 1.5 report."""
    quote = kit.quote(version=5, body_type=body_type, body=td_report(v15=body_type == 3))
    claims = kit.verify(quote)
    assert claims.tcb_status is TcbStatus.UP_TO_DATE
    assert ("mrservicetd" in claims.measurements) == (body_type == 3)
