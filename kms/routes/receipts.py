"""GET /v1/receipts/{request}: everything that proves what the nodes decided on one request, in one file."""

from __future__ import annotations

import re

from enclave.roster import Role
from enclave.tokens import Act
from kms.endpoint import Answer, Context, Endpoint
from kms.errors import NotFoundError
from kms.receipts.compose import Composer

_REQUEST = re.compile(r"[0-9a-f]{64}")


async def show(context: Context) -> Answer:
    """The receipt: principals see their own, auditors and administrators all."""
    gateway = context.gateway
    wanted = context.params["request"]
    gateway.admissions.require_resource(context.caller, wanted, "*")
    sees_all = bool(gateway.directory.roles(context.caller.principal) & {Role.AUDITOR, Role.ADMIN})
    if not _REQUEST.fullmatch(wanted):
        raise NotFoundError("no decision on that request is stored here", code="receipt.unknown")
    composer = Composer(
        gateway.logs.store,
        cluster=gateway.roster.cluster_id,
        rosters=[link.envelope for link in gateway.rosters.links],
        needed=gateway.roster.witness_terms.a,
    )
    principal = None if sees_all else context.caller.principal
    now = gateway.fleet.clock()
    body = await gateway.logs.run(lambda: composer.compose(bytes.fromhex(wanted), principal=principal, now=now))
    return Answer(body=body)


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
