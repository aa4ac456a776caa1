"""How does a program use a cluster it does not have to trust?  The client library.

    async with Client.connect("cluster.json", credentials=AgentCredentials.load("agent.pem")) as client:
        signed = await client.sign.evm_transaction(key, transaction)

The gateway is treated as a stranger: before the first answer counts, the client verifies the
evidence of the nodes, and every public key, address and signature is checked against what they signed.
"""

from __future__ import annotations

from kms.client.client import Client
from kms.client.credentials import AgentCredentials, ApproverCredentials, OperatorCredentials
from kms.client.errors import (
    ClientError,
    ConfigurationError,
    RequestRefusedError,
    UnavailableError,
    VerificationError,
)
from kms.client.pending import PendingError
from kms.client.trust import TrustAnchors

__all__ = [
    "AgentCredentials",
    "ApproverCredentials",
    "Client",
    "ClientError",
    "ConfigurationError",
    "OperatorCredentials",
    "PendingError",
    "RequestRefusedError",
    "TrustAnchors",
    "UnavailableError",
    "VerificationError",
]
