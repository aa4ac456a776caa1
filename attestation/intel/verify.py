"""Verification of an Intel quote, in the numbered steps of specs/attestation-verification.md.

1    Format           1.1 the quote parses to its last byte
2    Endorsement      2.1 PCK chain to a trusted root   2.2 Intel's extension in the leaf is consistent
3    Signatures       3.1 QE report by the PCK key   3.2 attestation key bound in the QE report
                      3.3 quote by the attestation key
4    Collateral       4.1 revocation   4.2, 4.3 TCB info signed, applies   4.4, 4.5 enclave identity signed, applies
5    Platform state   5.1 quoting enclave   5.2 TCB level   5.3 TDX module   5.4 convergence

Rules: what needs no collateral comes first, so a forged quote is refused even when collateral is
missing; nothing here consults policy; cached answers are used only inside their own validity.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from attestation.cache import WindowCache
from attestation.collateral import Collateral
from attestation.errors import EvidenceError
from attestation.evidence import Claims
from attestation.instant import format_instant
from attestation.intel import pck, qe_identity, tcb
from attestation.intel.body import TdReport
from attestation.intel.collateral_check import VerifiedCollateral, verify_collateral, verify_raw_signature
from attestation.intel.pck import PckChain
from attestation.intel.quote import Quote, parse_quote
from attestation.intel.signed_json import SvnLevel
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.roots import Roots
from attestation.verdict import Trace

STEPS = (
    ("1.1", "evidence parses to its last byte"),
    ("2.1", "certificate chain leads to a trusted root"),
    ("2.2", "platform facts in the leaf certificate are consistent"),
    ("3.1", "quoting enclave report is signed by the platform"),
    ("3.2", "attestation key belongs to the quoting enclave"),
    ("3.3", "evidence is signed by the attestation key"),
    ("4.1", "no certificate of the chain is revoked"),
    ("4.2", "TCB info is signed by the TCB signer"),
    ("4.3", "TCB info is current and for this platform"),
    ("4.4", "enclave identity is signed by the TCB signer"),
    ("4.5", "enclave identity is current and for this kind of quote"),
    ("5.1", "quoting enclave is Intel's"),
    ("5.2", "platform security versions are rated"),
    ("5.3", "TDX module is Intel's"),
    ("5.4", "ratings converge to one status"),
)
"""Every step in order: a verdict lists those not reached as skipped."""

_NAMES = dict(STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeyBinding:
    """A verified attestation key: steps 3.1 and 3.2 for one key under one PCK certificate."""

    key: ec.EllipticCurvePublicKey
    sha256: str


class IntelVerifier:
    """Verifies quotes under fixed roots; keeps verified chains, keys and collateral sets for reuse."""

    def __init__(self, roots: Roots) -> None:
        self._anchors = roots.of_vendor("intel")
        self._chains: WindowCache[PckChain] = WindowCache()
        self._keys: WindowCache[_KeyBinding] = WindowCache()
        self._collateral: WindowCache[VerifiedCollateral] = WindowCache()

    def __call__(self, evidence: bytes, *, collateral: Collateral, now: int, trace: Trace) -> Claims:
        """The claims of a genuine quote; raises AttestationError. `trace` receives every step."""
        with trace.step("1.1", _NAMES["1.1"]):
            quote = parse_quote(evidence)
        chain = self._verify_chain(quote, now, trace)
        binding = self._verify_signatures(quote, chain, trace)
        verified = self._verify_collateral(quote, chain, collateral, now, trace)
        level, module, conclusion = _evaluate(quote, chain, verified, trace)
        return _claims(quote, chain, binding, verified, level, module, conclusion)

    def _verify_chain(self, quote: Quote, now: int, trace: Trace) -> PckChain:
        key = hashlib.sha256(quote.pck_chain).digest()
        chain = self._chains.get(key, now)
        with trace.step("2.1", _NAMES["2.1"]):
            if chain is None:
                certificates = pck.verify_certificates(quote.pck_chain, self._anchors, now)
        with trace.step("2.2", _NAMES["2.2"]):
            if chain is None:
                chain = pck.with_facts(certificates)
                self._chains.put(key, chain, valid_from=chain.not_before, valid_until=chain.not_after)
        return chain

    def _verify_signatures(self, quote: Quote, chain: PckChain, trace: Trace) -> _KeyBinding:
        cache_key = (
            chain.leaf.spki,
            quote.qe_report_bytes,
            quote.qe_report_signature,
            quote.qe_auth,
            quote.attestation_key,
        )
        # Without a clock: the chain that vouches was checked at `now` just before.
        binding = self._keys.get(cache_key, 0)
        with trace.step("3.1", _NAMES["3.1"]):
            if binding is None and not verify_raw_signature(
                chain.leaf_key, quote.qe_report_signature, quote.qe_report_bytes
            ):
                raise EvidenceError("QE report is not signed by the PCK key", code="evidence.qe-signature")
        with trace.step("3.2", _NAMES["3.2"]):
            if binding is None:
                binding = _bind_key(quote)
                self._keys.put(cache_key, binding, valid_from=0, valid_until=0)
        with trace.step("3.3", _NAMES["3.3"]):
            if not verify_raw_signature(binding.key, quote.signature, quote.signed):
                raise EvidenceError("quote is not signed by its attestation key", code="evidence.signature")
        return binding

    def _verify_collateral(
        self, quote: Quote, chain: PckChain, collateral: Collateral, now: int, trace: Trace
    ) -> VerifiedCollateral:
        key = (collateral.digest, chain.leaf.der, quote.tee)
        verified = self._collateral.get(key, now)
        if verified is None:
            verified = verify_collateral(collateral, chain, quote.tee, now, trace)
            self._collateral.put(key, verified, valid_from=verified.valid_from, valid_until=verified.valid_until)
            return verified
        for number in ("4.1", "4.2", "4.3", "4.4", "4.5"):
            with trace.step(number, _NAMES[number]):
                pass  # verified before, and `now` lies inside the window of that answer
        return verified


def _bind_key(quote: Quote) -> _KeyBinding:
    """Step 3.2: the QE report commits to this attestation key and authentication data."""
    report_data = quote.qe_report.report_data
    expected = hashlib.sha256(quote.attestation_key + quote.qe_auth).digest()
    if report_data[:32] != expected or any(report_data[32:]):
        raise EvidenceError("QE report does not commit to the attestation key", code="evidence.key-binding")
    point = b"\x04" + quote.attestation_key
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise EvidenceError("attestation key is not a point of P-256", code="evidence.key-binding") from None
    return _KeyBinding(key=key, sha256=hashlib.sha256(_P256_SPKI_PREFIX + point).hexdigest())


def _evaluate(
    quote: Quote, chain: PckChain, verified: VerifiedCollateral, trace: Trace
) -> tuple[tcb.PlatformLevel, SvnLevel | None, tcb.Conclusion]:
    body = quote.body if isinstance(quote.body, TdReport) else None
    with trace.step("5.1", _NAMES["5.1"]):
        enclave = qe_identity.match_report(verified.identity, quote.qe_report)
    with trace.step("5.2", _NAMES["5.2"]):
        level = tcb.find_level(verified.info, chain.facts, body)
    module: SvnLevel | None = None
    module_levels: tuple[SvnLevel, ...] = ()
    module_rated = True
    if body is None:
        trace.skip("5.3", _NAMES["5.3"], "an SGX quote has no TDX module")
    elif level.selected is None:
        trace.skip("5.3", _NAMES["5.3"], "the platform is below every TCB level")
    else:
        with trace.step("5.3", _NAMES["5.3"]):
            expected, module = tcb.match_module(verified.info, body)
            module_levels = expected.levels
            # Version 0 has no levels of its own: the platform level's TDX components rate it.
            module_rated = module is not None or body.tee_tcb_svn[1] == 0
    with trace.step("5.4", _NAMES["5.4"]):
        if module_rated:
            conclusion = tcb.conclude(
                info=verified.info,
                body=body,
                level=level,
                module=module,
                module_levels=module_levels,
                quoting_enclave=enclave,
                enclave_levels=verified.identity.levels,
            )
        else:
            conclusion = tcb.not_supported()
    return level, module, conclusion


def _claims(
    quote: Quote,
    chain: PckChain,
    binding: _KeyBinding,
    verified: VerifiedCollateral,
    level: tcb.PlatformLevel,
    module: SvnLevel | None,
    conclusion: tcb.Conclusion,
) -> Claims:
    facts = chain.facts
    selected = level.selected
    info_signer, identity_signer = verified.signers
    return Claims(
        tee=quote.tee,
        root=chain.anchor.label,
        evidence_id=quote.evidence_id,
        report_data=quote.body.report_data,
        measurements=quote.body.measurements(),
        tcb_status=conclusion.status,
        advisories=conclusion.advisories,
        tcb_evaluation=verified.info.evaluation,
        tcb_date=datetime.fromtimestamp(selected.rating.date, UTC) if selected is not None else None,
        flags=quote.body.flags() | dict(facts.configuration),
        platform_id=PlatformId.intel_ppid(facts.ppid),
        valid_until=min(verified.valid_until, chain.not_after),
        signers={
            "root": chain.root.spki_sha256,
            "intermediate": chain.intermediate.spki_sha256,
            "leaf": chain.leaf.spki_sha256,
            "attestation-key": binding.sha256,
            "tcb-info-signer": info_signer.spki_sha256,
            "enclave-identity-signer": identity_signer.spki_sha256,
        },
        details=_details(quote, chain, verified, conclusion, module),
    )


def _details(
    quote: Quote, chain: PckChain, verified: VerifiedCollateral, conclusion: tcb.Conclusion, module: SvnLevel | None
) -> dict[str, Any]:
    facts = chain.facts
    details: dict[str, Any] = {
        "quote_version": quote.version,
        "fmspc": facts.fmspc.hex(),
        "pce_id": facts.pce_id.hex(),
        "cpusvn": facts.cpusvn.hex(),
        "pcesvn": facts.pcesvn,
        "pck_authority": chain.authority,
        "sgx_type": facts.sgx_type,
        "qe_id": quote.qe_id.hex(),
        "qe_isvsvn": quote.qe_report.isvsvn,
        "qe_tcb_evaluation": verified.identity.evaluation,
        "tcb_info_issued": format_instant(verified.info.issued),
        "next_tcb_date": format_instant(conclusion.superseded) if conclusion.superseded is not None else None,
        "root_crl_sha256": verified.crl_digests[0].hex(),
        "pck_crl_sha256": verified.crl_digests[1].hex(),
    }
    if facts.platform_instance_id is not None:
        details["platform_instance_id"] = facts.platform_instance_id.hex()
    body = quote.body
    if isinstance(body, TdReport):
        details |= {
            "tee_tcb_svn": body.tee_tcb_svn.hex(),
            "td_attributes": body.td_attributes.hex(),
            "xfam": body.xfam.hex(),
            "mrsignerseam": body.mrsignerseam.hex(),
            "seam_attributes": body.seam_attributes.hex(),
            "module_tcb_status": module.rating.status if module is not None else None,
        }
        if body.tee_tcb_svn_2 is not None:
            details["tee_tcb_svn_2"] = body.tee_tcb_svn_2.hex()
    else:
        details |= {
            "isvprodid": body.isvprodid,
            "isvsvn": body.isvsvn,
            "attributes": body.attributes.hex(),
            "miscselect": body.miscselect.hex(),
        }
    return details


_P256_SPKI_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""DER of SubjectPublicKeyInfo up to the uncompressed point (RFC 5480)."""
