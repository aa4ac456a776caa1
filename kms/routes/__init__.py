"""What can be asked over HTTP?  One module per noun or verb, each naming its endpoints; `ENDPOINTS` is all of them."""

from __future__ import annotations

from kms.approvals.desk import Perform
from kms.endpoint import Endpoint
from kms.routes import (
    agents,
    approvers,
    audit,
    batch,
    budgets,
    ceremonies,
    cold_start,
    collateral,
    credentials,
    data_key,
    decisions,
    decrypt,
    derive,
    encrypt,
    evaluate,
    events,
    evidence,
    freeze,
    health,
    imports,
    key,
    key_state,
    keys,
    log,
    nodes,
    operations,
    policies,
    problems,
    public_key,
    receipts,
    registry,
    rewrap,
    root,
    roster,
    secrets,
    sign,
    verify,
)

ENDPOINTS: tuple[Endpoint, ...] = tuple(
    endpoint
    for module in (
        root, roster, nodes, cold_start, evidence, collateral, registry,
        agents, approvers, credentials, policies, evaluate, budgets, freeze,
        keys, imports, key, public_key, derive, key_state, ceremonies,
        sign, verify, encrypt, decrypt, rewrap, data_key, batch,
        secrets, operations, decisions,
        audit, events, log, receipts, problems, health,
    )
    for endpoint in module.ENDPOINTS
)  # fmt: skip

PERFORMERS: dict[str, Perform] = {"sign": sign.perform, "decrypt": decrypt.perform, "rewrap": rewrap.perform}
"""What is done for a request to such a path once people approved it."""
