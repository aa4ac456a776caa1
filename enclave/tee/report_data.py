"""What fresh evidence says it was made for: adapters hand out nothing that carries other report data.

This is no verification: it only keeps a platform's mix-up (another process's report, a stale buffer) from
leaving this machine as ours.
"""

from __future__ import annotations

from attestation.amd.report import SnpReport
from attestation.errors import CodedError
from attestation.evidence import Tee as Platform
from attestation.intel.body import TdReport
from attestation.intel.quote import parse_quote
from attestation.nitro.document import NitroDocument
from enclave.tee import TeeError


def carries(report_data: bytes, evidence: bytes, platform: Platform) -> bytes:
    """`evidence`, if it is of that platform and made for `report_data`; raises TeeError (`tee.answer`)."""
    try:
        found = _report_data(evidence, platform)
    except CodedError:
        raise TeeError(f"the platform's answer is not {platform} evidence", code="tee.answer") from None
    if found != report_data:
        raise TeeError("the platform answered with evidence over other report data", code="tee.answer")
    return evidence


def _report_data(evidence: bytes, platform: Platform) -> bytes | None:
    if platform is Platform.TDX:
        body = parse_quote(evidence).body
        return body.report_data if isinstance(body, TdReport) else None
    if platform is Platform.SEV_SNP:
        return SnpReport.parse(evidence).report_data
    if platform is Platform.NITRO:
        return NitroDocument.parse(evidence).user_data
    return None
