"""GET /v1/receipts/{request or operation}: what proves what the nodes decided on one request, in one file."""

from __future__ import annotations

import re
import time

from enclave.roster import Role
from enclave.tokens import Act
from kms.endpoint import Answer, Context, Endpoint
from kms.receipts.compose import Composer
from kms.receipts.store import LogStore

_REQUEST = re.compile(r"[0-9a-f]{64}")


async def show(context: Context) -> Answer:
    """The receipt: principals see their own, auditors and administrators all."""
    gateway = context.gateway
    wanted, principal = context.params["request"], context.caller.principal
    gateway.admissions.require_resource(context.caller, wanted, "*")
    gateway.receipt_limiter.take(principal, time.monotonic())
    sees_all = bool(gateway.directory.roles(principal) & {Role.AUDITOR, Role.ADMIN})
    now = gateway.fleet.clock()

    def work(store: LogStore) -> bytes:
        request = bytes.fromhex(wanted) if _REQUEST.fullmatch(wanted) else store.request_of(wanted)
        composer = Composer(
            store,
            cluster=gateway.roster.cluster_id,
            rosters=[link.envelope for link in gateway.rosters.links],
            needed={roster.digest: roster.witness_terms.a for roster in gateway.rosters.rosters},
        )
        return composer.compose(request or b"", principal=None if sees_all else principal, now=now)

    return Answer(body=await gateway.logs.read(work))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/receipts/{request}",
        summary="The receipt of one request (specs/receipts.md)",
        handler=show,
        act=Act.RECEIPTS_GET,
        tag="audit",
    ),
)
