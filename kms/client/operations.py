"""Operations: see what waits, decide about it, wait for results.

An approver's summary is rendered here from the request's exact bytes, never taken from the gateway; whatever the
gateway tells wrongly makes another fingerprint, and an approval of that counts nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from attestation.errors import CodedError
from enclave.approvals.fingerprint import APPROVE, REJECT, decision_bytes, fingerprint_of, operation_id
from enclave.approvals.summary import parse_waiting, render
from enclave.certificate import KeyCertificate
from enclave.ids import check_id
from enclave.tokens import key_resource, read_token
from kms.client import pending
from kms.client.caller import Caller
from kms.client.errors import ConfigurationError, VerificationError
from kms.client.verification import member

WAIT_S = 300.0
"""Default time to wait for people."""

Confirm = Callable[[str], bool]
"""Shown the summary; says whether to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A waiting request, rendered here from its bytes."""

    operation: str
    state: str
    requested_by: str
    group: str
    minimum: int
    approved_by: tuple[str, ...]
    """As the gateway tells it."""
    expires_at: int
    summary: str
    fingerprint: bytes
    """Over the summary above; what an approval signs."""


class Operations:
    """`client.operations`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get(self, operation: str, *, wait_s: int = 0) -> dict[str, Any]:
        """One operation as the gateway tells it, after at most `wait_s` seconds if it has not ended."""
        return await pending.show(self._caller, check_id(operation, "op"), wait_s=wait_s)

    async def list(self, *, state: str | None = None) -> list[dict[str, Any]]:
        """The caller's operations; for approvers those of their groups, for operators all."""
        found: list[dict[str, Any]] = []
        query = {} if state is None else {"state": state}
        while True:
            page = await self._caller.call("GET", "/v1/operations", act="operations.get", query=query)
            found += member(page, "operations", list)
            cursor = page.get("next_cursor")
            if not isinstance(cursor, str) or query.get("cursor") == cursor:
                return found
            query = query | {"cursor": cursor}

    async def wait(self, operation: str, *, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The operation once it has ended; raises PendingError after `timeout_s`."""
        return await pending.ended(self._caller, check_id(operation, "op"), timeout_s=timeout_s)

    async def result(self, error: pending.PendingError, *, timeout_s: float = WAIT_S) -> Any:
        """What the call that raised `error` would have returned, verified alike, once people approved it.

        Raises RequestRefusedError with the problem's code (`approval.rejected`, `operation.expired` ...), PendingError.
        """
        return error.redeem(await pending.result(self._caller, error.operation, timeout_s=timeout_s))

    async def waiting(self, operation: str) -> Waiting:
        """A waiting request in words, rendered here; raises VerificationError, ConfigurationError."""
        return read_waiting(await self.get(operation), operation=operation, cluster=self._caller.cluster)

    async def approve(self, operation: str, confirm: Confirm) -> dict[str, Any]:
        """Approve what `confirm` was shown and agreed to; the caller's credentials are the approver's.

        Raises ConfigurationError (`client.not-confirmed`), VerificationError, RequestRefusedError.
        """
        return await self._decide(operation, APPROVE, confirm)

    async def reject(self, operation: str, confirm: Confirm = lambda _summary: True) -> dict[str, Any]:
        """End it for good."""
        return await self._decide(operation, REJECT, confirm)

    async def cancel(self, operation: str) -> dict[str, Any]:
        """Take a request back, as whoever asked or as an administrator."""
        path = f"/v1/operations/{check_id(operation, 'op')}/cancel"
        answer = await self._caller.call("POST", path, act="operations.cancel", resource=operation)
        return dict(answer)

    async def _decide(self, operation: str, decision: str, confirm: Confirm) -> dict[str, Any]:
        seen = await self.waiting(operation)
        if not confirm(seen.summary):
            raise ConfigurationError("not confirmed, nothing was signed", code="client.not-confirmed")
        who = self._caller.credentials
        statement = decision_bytes(
            cluster=self._caller.cluster, fingerprint=seen.fingerprint, approver=who.issuer, decision=decision
        )
        value = {
            "approver": who.issuer,
            "credential": who.key.kid,
            "signature": b64url(who.key.sign(statement)),
        }
        path = f"/v1/operations/{operation}/{decision}"
        answer = await self._caller.call(
            "POST", path, act="operations.decide", resource=operation, body=canonical_json(value)
        )
        return dict(answer)


def read_waiting(told: Mapping[str, Any], *, operation: str, cluster: bytes) -> Waiting:
    """Render a waiting request from its bytes; raises VerificationError (`verify.operation`, `verify.fingerprint`)."""
    approval = member(told, "approval", dict)
    try:
        body = b64url_decode(member(approval, "body", str))
        key = KeyCertificate.parse(b64url_decode(member(approval, "certificate", str)))
        token = read_token(member(approval, "token", str), body=body, cluster=cluster)
        expires_at = member(told, "expires_at", int)
        summary = render(token, key, body, parse_waiting(body, token.act, key), expires_at=expires_at)
        policy, version = member(approval, "policy", str), member(approval, "policy_version", int)
        fingerprint = fingerprint_of(
            cluster=cluster,
            request_id=token.request_id,
            body=body,
            resource=token.resource,
            policy=policy,
            policy_version=version,
            summary=summary,
            expires_at=expires_at,
        )
    except VerificationError:
        raise
    except (CodedError, OverflowError) as error:
        detail = error.detail if isinstance(error, CodedError) else "a number is out of range"
        raise VerificationError(f"the request cannot be rendered: {detail}", code="verify.operation") from None
    if operation_id(token.request_id) != operation or token.resource != key_resource(key.key, key.version):
        raise VerificationError("the request shown is not the one asked for", code="verify.operation")
    if approval.get("fingerprint") != fingerprint.hex():
        raise VerificationError(
            "what the gateway shows is not what the nodes parked",
            code="verify.fingerprint",
            hint="do not approve; a client of another version may also render other words",
        )
    given = approval.get("approvals")
    names = [one.get("approver") for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    return Waiting(
        operation=operation,
        state=member(told, "state", str),
        requested_by=token.issuer,
        group=member(approval, "group", str),
        minimum=member(approval, "minimum", int),
        approved_by=tuple(name for name in names if isinstance(name, str)),
        expires_at=expires_at,
        summary=summary,
        fingerprint=fingerprint,
    )
