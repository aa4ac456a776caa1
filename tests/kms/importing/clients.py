"""Clients of the fabric's gateway, and the policy under which keys may leave."""

from __future__ import annotations

from typing import Any

from kms.client import AgentCredentials, Client, OperatorCredentials
from kms.client.trust import TrustAnchors
from tests.kms.fabric import Fabric

POLICY = "pol_" + "e" * 26


def connect(fabric: Fabric, *, as_agent: bool, **options: Any) -> Client:
    """A client of the fabric's gateway."""
    trust = TrustAnchors(cluster_id=fabric.roster.cluster_id, simulated_roots=fabric.roster.simulated_roots)
    credentials = (
        AgentCredentials(issuer=fabric.agent_id, key=fabric.agent)
        if as_agent
        else OperatorCredentials(issuer=fabric.operator_id, key=fabric.operator)
    )
    return Client.connect(url=fabric.url, trust=trust, credentials=credentials, **options)
