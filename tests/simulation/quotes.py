"""Stand-ins for platform quotes: a MACed list of what a machine measured, and the verifier that reads it.

What is kept of the real thing: only the platform can make one, a change of any byte is noticed, and the claims are
those of a TDX machine, judged afterwards by the production appraisal, binding and registry checks.
Real quotes of the simulated authority are used where a timeline asks for real cryptography.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from attestation.collateral import Collateral
from attestation.errors import EvidenceError
from attestation.evidence import Claims, TcbStatus, Tee
from attestation.proof_of_cloud.platform_id import INTEL_PPID, PlatformId
from attestation.roots import Roots
from enclave.secret import Secret
from enclave.tee import TeeError, no_sealing_key

_VENDOR_KEY = b"the vendor of all simulated machines"
VALID_S = 30 * 86400


class _Quote(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    platform: bytes
    measurements: dict[str, str]
    report_data: bytes
    mac: bytes


class StandInTee:
    """One machine under one launch."""

    def __init__(self, platform: bytes, *, mrtd: bytes, mrconfigid: bytes, can_seal: bool = True) -> None:
        self.platform_id = PlatformId(kind=INTEL_PPID, value=platform)
        self._measurements = {"mrtd": mrtd.hex(), "mrconfigid": mrconfigid.hex()}
        self._seal = hashlib.sha256(b"seal" + platform + mrtd + mrconfigid).digest()
        self.can_seal = can_seal
        self.is_broken = False
        """Whether the platform's interface fails."""

    def quote(self, report_data: bytes) -> bytes:
        """Evidence over `report_data`; raises TeeError."""
        if self.is_broken:
            raise TeeError("the platform gives no quotes now")
        return _sealed(self.platform_id.value, self._measurements, report_data)

    def sealing_key(self, label: str) -> Secret:
        """The platform's key for `label`."""
        if not self.can_seal:
            no_sealing_key(label)
        return Secret.take(bytearray(hmac.digest(self._seal, label.encode(), "sha256")))


class StandInVerifier:
    """Reads the quotes of this module; in the place of attestation.verifier.Verifier."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots

    def verify(self, evidence: bytes, *, collateral: Collateral | None = None, now: int) -> Claims:
        """The claims of genuine evidence; raises EvidenceError."""
        del collateral
        try:
            quote = msgspec.msgpack.decode(evidence, type=_Quote)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise EvidenceError("not a quote", code="evidence.malformed") from None
        expected = _mac(quote.platform, quote.measurements, quote.report_data)
        if evidence != _sealed(quote.platform, quote.measurements, quote.report_data) or quote.mac != expected:
            raise EvidenceError("the quote's signature does not verify", code="evidence.signature")
        return claims(quote.platform, quote.measurements, quote.report_data, evidence, now)


def claims(platform: bytes, measurements: Mapping[str, str], report_data: bytes, evidence: bytes, now: int) -> Claims:
    """What a genuine quote says."""
    return Claims(
        tee=Tee.TDX,
        root="simulated",
        evidence_id=hashlib.sha256(evidence).hexdigest(),
        report_data=report_data,
        measurements=measurements,
        tcb_status=TcbStatus.UP_TO_DATE,
        tcb_evaluation=20,
        flags={"debug": False, "sept_ve_disable": True},
        platform_id=PlatformId(kind=INTEL_PPID, value=platform),
        valid_until=now + VALID_S,
    )


def _sealed(platform: bytes, measurements: Mapping[str, str], report_data: bytes) -> bytes:
    mac = _mac(platform, measurements, report_data)
    return msgspec.msgpack.encode(_Quote(platform, dict(measurements), report_data, mac))


def _mac(platform: bytes, measurements: Mapping[str, str], report_data: bytes) -> bytes:
    body = msgspec.msgpack.encode([platform, sorted(measurements.items()), report_data])
    return hmac.digest(_VENDOR_KEY, body, "sha256")
