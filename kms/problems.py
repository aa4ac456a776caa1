"""Errors as HTTP answers: RFC 9457 problem documents with a stable code, a hint and the request's id.

The code is the one the error was raised with, here or at a node; the status follows from the code.
Details are the error's own words, which never hold a secret; an unexpected failure says nothing of itself.
"""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

import msgspec

from attestation.errors import CodedError
from kms.errors import NodeRefusal, RateLimitError, UnavailableError

CONTENT_TYPE = "application/problem+json"

TYPE = "/problems/"
"""Where the page of each code is (kms.routes.problems); relative to the gateway that was asked."""

CULPRITS_MAX = 16
"""Most slots named in one problem: no key has more holders."""

STATUS: Mapping[str, int] = {
    # the request
    "json.too-large": 413,
    "batch.too-large": 413,
    "batch.malformed": 400,
    "request.too-large": 413,
    "method.not-allowed": 405,
    "not-found": 404,
    "conflict": 409,
    "precondition.failed": 412,
    "idempotency.in-flight": 409,
    "idempotency.other-request": 422,
    "rate-limited": 429,
    "rate.exceeded": 429,
    "evidence.rate": 429,
    "payload.malformed": 400,
    "order.malformed": 400,
    "decrypt.failed": 422,
    "request.not-after": 422,
    "secret.plaintext": 400,
    "secret.malformed": 400,
    "secret.too-large": 413,
    "secret.exists": 409,
    "release.malformed": 400,
    "import.plaintext": 400,
    "import.malformed": 400,
    "import.exists": 409,
    "import.duplicate": 409,
    "import.unresolved": 503,
    # who may
    "role.missing": 403,
    "operator.role": 403,
    "agent.revoked": 403,
    "credential.revoked": 403,
    "policy.denied": 403,
    "policy.missing": 403,
    "policy.malformed": 422,
    "envelope.signatures": 403,
    "document.role": 403,
    "document.quorum": 403,
    "document.stale": 409,
    "document.sequence": 409,
    "document.conflict": 409,
    "document.revoked": 409,
    # keys
    "key.disabled": 409,
    "key.exists": 409,
    "key.unknown": 404,
    "key.epoch": 409,
    "key.version": 409,
    "key.resharing": 503,
    "ceremony-unresolved": 503,
    "key.usage": 422,
    "key.spec": 422,
    "key.custody": 422,
    # logs and receipts
    "receipt.unknown": 404,
    "receipt.pruned": 404,
    "receipt.lost": 404,
    "log.not-stored": 404,
    # nodes
    "attestation-denied": 403,
    "attestation-stale": 503,
    "attestation-unavailable": 503,
    "clock-skew": 503,
    "clock-jump": 503,
    "state-rolled-back": 503,
    "state-unsettled": 503,
    "cold-start": 503,
    "witness-pending": 503,
    "lease-unclaimed": 503,
    "lease-waiting": 503,
    "lease-fenced": 503,
    "lease-lost": 503,
    "versions-behind": 503,
    "log-behind": 503,
    "ledger.full": 503,
    "ceremony.busy": 503,
    "nonces.full": 503,
    "internal": 500,
}
"""Status of single codes; families follow in STATUS_OF_FAMILY."""

STATUS_OF_FAMILY: tuple[tuple[str, int], ...] = (
    ("token.", 401),
    ("oidc.", 401),
    ("json.", 400),
    ("request.", 400),
    ("name.", 400),
    ("id.", 400),
    ("document.", 400),
    ("envelope.", 400),
    ("idempotency.", 400),
    ("payload.", 422),
    ("batch.", 422),
    ("order.", 422),
    ("diversity.", 422),
    ("derive.", 422),
    ("secret.", 422),
    ("release.", 403),
    ("import.", 422),
    ("export.", 403),
    ("decrypt.", 422),
    ("opener.", 422),
    ("path.", 422),
    ("plaintext.", 422),
    ("policy.", 422),
    ("evaluate.", 422),
    ("ceremony.", 409),
    ("frozen.", 409),
    ("budget.", 409),
    ("nonce-guard.", 409),
    ("rate.", 503),
    ("proof-of-cloud.", 403),
    ("operation.", 409),
    ("log.", 503),
    ("approval.", 409),
    ("store.", 500),
    ("storage.", 503),
    ("channel.", 503),
    ("nonces.", 503),
    ("evidence.", 503),
    ("assembler.", 503),
    ("signers.", 502),
    ("certificate.", 502),
    ("signature.", 502),
    ("partial.", 502),
    ("peer.", 502),
    ("protocol.", 502),
    ("wire.", 502),
)
"""Status of code families by prefix."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every answer that is not a success."""

    type: str
    title: str
    status: int
    code: str
    """Stable; `type` is the page that explains it, on this gateway."""
    detail: str
    request_id: str
    hint: str | None = None
    culprits: list[str] = []
    """Slots proven to have misbehaved."""


def problem_of(error: BaseException, *, request_id: str) -> tuple[Problem, dict[str, str]]:
    """The problem and its headers; anything but our own errors becomes `internal`."""
    if not isinstance(error, CodedError):
        return _problem("internal", "an internal error; the log has more under this request id", request_id), {}
    problem = _problem(
        error.code,
        error.detail,
        request_id,
        hint=error.hint,
        status=status_of(error),
        culprits=[str(slot) for slot in getattr(error, "culprits", ())][:CULPRITS_MAX],
    )
    return problem, _headers(error, problem.status)


def status_of(error: CodedError) -> int:
    """The HTTP status of one of our errors."""
    if isinstance(error, UnavailableError) and error.code not in STATUS:
        return 503
    return status_of_code(error.code, default=502 if isinstance(error, NodeRefusal) else 500)


def status_of_code(code: str, *, default: int = 500) -> int:
    """The HTTP status of a code."""
    known = STATUS.get(code)
    if known is not None:
        return known
    return next((status for prefix, status in STATUS_OF_FAMILY if code.startswith(prefix)), default)


def _headers(error: CodedError, status: int) -> dict[str, str]:
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = f'Bearer realm="holdfast", error="{_oauth_error(error.code)}"'
    if isinstance(error, RateLimitError):
        headers["Retry-After"] = str(error.retry_after_s)
    elif status in (429, 503):
        headers["Retry-After"] = str(UnavailableError.retry_after_s)
    return headers


def _oauth_error(code: str) -> str:
    """RFC 6750 section 3.1."""
    return "invalid_request" if code in ("token.missing", "token.malformed") else "invalid_token"


def _problem(
    code: str,
    detail: str,
    request_id: str,
    *,
    hint: str | None = None,
    status: int = 500,
    culprits: list[str] | None = None,
) -> Problem:
    return Problem(
        type=TYPE + code,
        title=http.HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        request_id=request_id,
        hint=hint,
        culprits=culprits or [],
    )


ENCODER = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """JSON bytes of an answer."""
    return ENCODER.encode(value)
