"""The front door: evidence, collateral and time in, claims or a written verdict out.

Rules: no socket is opened and no clock is read; `verify` knows cryptography and format only
and raises; `examine` adds binding, policy and statements, never raises on hostile bytes, and
records every step, also those not reached.  Specification: specs/attestation-verification.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attestation.collateral import Collateral
from attestation.errors import AttestationError, CodedError, CollateralMissingError, EvidenceError
from attestation.evidence import Claims, Tee, detect
from attestation.instant import check_now
from attestation.platforms import STEPS, platform_verifiers
from attestation.policy import Appraisal
from attestation.roots import Roots
from attestation.verdict import Outcome, Result, Step, Trace, Verdict

BINDING_STEP, BINDING_NAME = "7", "evidence answers this request"
POLICY_STEP, POLICY_NAME = "8", "appraisal policy"
STATEMENT_STEP = "9"


class StatementCheck(Protocol):
    """A further check on verified claims, e.g. proof of cloud; one numbered step 9.x each."""

    @property
    def name(self) -> str:
        """What the step is called."""
        ...

    def check(self, claims: Claims, now: int) -> None:
        """Raise a CodedError if the claims do not stand up to it."""
        ...


class Verifier:
    """Verifies evidence under fixed roots; safe to share, remembers what it has verified."""

    def __init__(self, roots: Roots, collateral: Collateral | None = None) -> None:
        self._verifiers = platform_verifiers(roots)
        self._held = collateral
        self._merged: tuple[bytes, Collateral] | None = None
        self.roots = roots

    @classmethod
    def production(cls) -> Verifier:
        """Trusts the pinned vendor roots and nothing else."""
        return cls(Roots.production())

    @classmethod
    def offline(cls, collateral: Collateral) -> Verifier:
        """Like `production`, with collateral at hand: of it and a caller's, the newer document counts."""
        return cls(Roots.production(), collateral)

    @classmethod
    def with_root(cls, *certificates: bytes) -> Verifier:
        """Trusts exactly these root certificates (PEM or DER) and no vendor's.

        Claims then carry root "simulated" or "custom", unless a certificate is a pinned one.
        Raises CollateralError (`root.malformed`).
        """
        return cls(Roots.of(certificates))

    def verify(self, evidence: bytes, *, collateral: Collateral | None = None, now: int) -> Claims:
        """The claims of genuine evidence at `now` (Unix seconds).

        Raises AttestationError: EvidenceError or CertificateError if the evidence is at fault,
        CollateralError if the collateral is, CollateralMissingError if it is absent or out of date.
        """
        return self._verify(evidence, collateral, now, Trace())

    def examine(
        self,
        evidence: bytes,
        *,
        collateral: Collateral | None = None,
        now: int,
        policy: Appraisal,
        expected_report_data: bytes | None = None,
        statements: Sequence[StatementCheck] = (),
    ) -> Verdict:
        """The full verdict at `now`; never raises on hostile bytes.

        "indeterminate" if nothing is wrong but collateral is absent or out of date.
        """
        trace = Trace()
        try:
            claims = self._verify(evidence, collateral, now, trace)
        except AttestationError as error:
            return _not_verified(evidence, error, trace, now)
        with_binding = _binding(claims, expected_report_data)
        steps = [*trace.steps, with_binding, *policy.appraise(claims, now), *_statements(claims, statements, now)]
        failed = tuple(step.code or "unknown" for step in steps if step.result is Outcome.FAIL)
        return Verdict(
            result=Result.UNTRUSTED if failed else Result.TRUSTED,
            steps=tuple(steps),
            claims=claims,
            tee=claims.tee,
            reasons=failed,
            verified_at=now,
        )

    def _verify(self, evidence: bytes, collateral: Collateral | None, now: int, trace: Trace) -> Claims:
        check_now(now)
        evidence = bytes(evidence)  # views and bytearrays could change under a cached answer
        verifier = self._verifiers[detect(evidence)]
        return verifier(evidence, collateral=self._collateral(collateral), now=now, trace=trace)

    def _collateral(self, given: Collateral | None) -> Collateral:
        if self._held is None or given is None:
            return given or self._held or Collateral()
        if self._merged is None or self._merged[0] != given.digest:
            self._merged = (given.digest, self._held.merged(given))
        return self._merged[1]


def _not_verified(evidence: bytes, error: AttestationError, trace: Trace, now: int) -> Verdict:
    steps = list(trace.steps)
    recorded = {step.step for step in steps}
    if not any(step.result is Outcome.FAIL for step in steps):
        # Refused before any platform's first step: unknown format or an impossible time.
        steps.append(
            Step(step="1", name="evidence is recognised", result=Outcome.FAIL, reason=error.detail, code=error.code)
        )
        recorded.add("1")
    tee = _looks_like(evidence)
    expected = STEPS[tee] if tee is not None else ()
    steps.extend(_skipped(number, name, "not reached") for number, name in expected if number not in recorded)
    steps.append(_skipped(BINDING_STEP, BINDING_NAME, "evidence did not verify"))
    steps.append(_skipped(POLICY_STEP, POLICY_NAME, "evidence did not verify"))
    missing = isinstance(error, CollateralMissingError)
    return Verdict(
        result=Result.INDETERMINATE if missing else Result.UNTRUSTED,
        steps=tuple(steps),
        tee=tee,
        reasons=(error.code,),
        verified_at=now if isinstance(now, int) else None,
    )


def _looks_like(evidence: bytes) -> Tee | None:
    try:
        return detect(evidence)
    except EvidenceError:
        return None


def _binding(claims: Claims, expected: bytes | None) -> Step:
    if expected is None:
        return _skipped(BINDING_STEP, BINDING_NAME, "no expected report data given")
    if claims.report_data == expected:
        return Step(step=BINDING_STEP, name=BINDING_NAME, result=Outcome.PASS)
    return Step(
        step=BINDING_STEP,
        name=BINDING_NAME,
        result=Outcome.FAIL,
        reason=f"expected report data {expected.hex()}, found {claims.report_data.hex()}",
        code="binding.report-data",
    )


def _statements(claims: Claims, checks: Sequence[StatementCheck], now: int) -> list[Step]:
    trace = Trace()
    for number, check in enumerate(checks, start=1):
        try:
            with trace.step(f"{STATEMENT_STEP}.{number}", check.name):
                check.check(claims, now)
        except CodedError:
            continue  # recorded by the trace
    return trace.steps


def _skipped(number: str, name: str, reason: str) -> Step:
    return Step(step=number, name=name, result=Outcome.SKIPPED, reason=reason)
