"""The written-down outcome of one appraisal: every numbered step with its result and reason.

Rules: steps are recorded also when a later one fails; a step that could not run is
`skipped`, never `pass`; "cannot tell" (collateral absent or out of date) is its own result.
Step numbers are those of specs/attestation-verification.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from enum import StrEnum
from typing import Any

from attestation.errors import CodedError
from attestation.evidence import Claims, Tee


class Outcome(StrEnum):
    """Result of one step."""

    PASS = "pass"  # noqa: S105 - a result, not a password
    FAIL = "fail"
    SKIPPED = "skipped"


class Result(StrEnum):
    """Overall result."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One numbered step, what came out, and why if it is not a pass."""

    step: str
    name: str
    result: Outcome
    reason: str | None = None
    code: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The step as a JSON object; `code` only where there is one."""
        value: dict[str, Any] = {
            "step": self.step,
            "name": self.name,
            "result": self.result.value,
            "reason": self.reason,
        }
        if self.code is not None:
            value["code"] = self.code
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Overall result, all steps, and the claims if the evidence verified."""

    result: Result
    steps: tuple[Step, ...]
    claims: Claims | None = None
    tee: Tee | None = None
    """What the first bytes look like; a fact only if there are claims."""
    reasons: tuple[str, ...] = ()
    """Stable codes of every failed step, in order."""
    verified_at: int | None = None
    """The time (Unix seconds) the verdict is about."""

    def to_json(self) -> dict[str, Any]:
        """The verdict as a JSON object (specs/attestation-verification.md, section "Verdict")."""
        claims = self.claims
        value: dict[str, Any] = {
            "result": self.result.value,
            "reasons": list(self.reasons),
            "verified_at": self.verified_at,
            "tee": self.tee.value if self.tee is not None else None,
            "root": None,
            "tcb_status": None,
            "advisories": [],
            "platform_id": None,
            "evidence_id": None,
            "report_data": None,
            "measurements": {},
        }
        if claims is not None:
            value |= claims_to_json(claims)
        value["steps"] = [step.to_json() for step in self.steps]
        return value


def claims_to_json(claims: Claims) -> dict[str, Any]:
    """The claims as a JSON object: bytes as hex, dates as RFC 3339, enums as their text."""
    date = claims.tcb_date
    return {
        "tee": claims.tee.value,
        "root": claims.root,
        "evidence_id": claims.evidence_id,
        "report_data": claims.report_data.hex(),
        "measurements": dict(claims.measurements),
        "tcb_status": claims.tcb_status.value if claims.tcb_status is not None else None,
        "advisories": list(claims.advisories),
        "tcb_evaluation": claims.tcb_evaluation,
        "tcb_date": date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if date is not None else None,
        "flags": dict(claims.flags),
        "platform_id": str(claims.platform_id) if claims.platform_id is not None else None,
        "valid_until": claims.valid_until,
        "signers": dict(claims.signers),
        "details": dict(claims.details),
    }


@dataclass(slots=True)
class Trace:
    """Collects the steps of one verification as it runs; `with trace.step(number, name): ...` around each block."""

    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, step: str, name: str) -> Iterator[None]:
        """Record pass, or fail with the reason of a CodedError, which travels on."""
        try:
            yield
        except CodedError as error:
            self.steps.append(Step(step=step, name=name, result=Outcome.FAIL, reason=error.detail, code=error.code))
            raise
        self.steps.append(Step(step=step, name=name, result=Outcome.PASS))

    def skip(self, step: str, name: str, reason: str) -> None:
        """Record a step that does not apply or could not run."""
        self.steps.append(Step(step=step, name=name, result=Outcome.SKIPPED, reason=reason))
