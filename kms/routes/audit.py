"""GET /v1/audit: the hash-chained record of what was asked and what came of it."""

from __future__ import annotations

from typing import Any

from enclave.roster import Role
from enclave.tokens import Act
from kms.body import Reply
from kms.endpoint import Answer, Context, Endpoint, Parameter, reply
from kms.errors import RequestError

LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
"""Entries per page: 1000 are below 1 MB."""


class AuditEntry(Reply, frozen=True):
    """One link; hashes in hex (specs/audit-log.md)."""

    sequence: int
    entry: dict[str, Any]
    previous: str
    hash: str


class AuditPage(Reply, frozen=True):
    """Entries in order; empty after the last."""

    entries: list[AuditEntry]


async def show(context: Context) -> Answer:
    """A page, for auditors and administrators."""
    gateway = context.gateway
    gateway.admissions.require_role(context.caller, Role.AUDITOR, Role.ADMIN)
    gateway.admissions.require_resource(context.caller, "*")
    after = _number(context.query.get("after", "0"), "after", low=0, high=2**53 - 1)
    limit = _number(context.query.get("limit", str(LIMIT_DEFAULT)), "limit", low=1, high=LIMIT_MAX)
    entries = await gateway.store.audit(after=after, limit=limit)
    return reply(
        AuditPage(
            entries=[
                AuditEntry(
                    sequence=value["sequence"], entry=value["entry"], previous=value["previous"], hash=value["hash"]
                )
                for value in (entry.to_json() for entry in entries)
            ]
        )
    )


def _number(text: str, name: str, *, low: int, high: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 16 or not low <= int(text) <= high:
        raise RequestError(f"expected {name} of {low} to {high}", code=f"request.{name}")
    return int(text)


ENDPOINTS = (
    Endpoint(
        method="GET", path="/v1/audit", summary="Audit entries", handler=show, act=Act.AUDIT_READ, reply=AuditPage,
        parameters=(
            Parameter(
                name="after", schema={"type": "integer", "minimum": 0, "default": 0}, description="last sequence seen"
            ),
            Parameter(
                name="limit", schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
                description="entries per page",
            ),
        ),
        tag="audit", informative=True,
    ),
)  # fmt: skip
