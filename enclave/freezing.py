"""Is what a request needs frozen?  Asked before every use of a share, and again between the rounds of one.

Rules kept: a payload that may take effect on several chains is stopped by a freeze of any of them;
nothing here depends on who relays the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enclave.errors import RefusedError
from enclave.key_specs import Usage
from enclave.restrictions import Scope

if TYPE_CHECKING:
    from enclave.directory import Directory
    from enclave.payload.decrypt import DecryptBody
    from enclave.payload.sign import Payload

SOLANA = "solana"
BITCOIN = "bitcoin"
EVM = "evm:"
"""Prefix of the chains with a chain id."""


def check_cluster(directory: Directory) -> None:
    """Raise RefusedError (`frozen.cluster`) while everything stands still."""
    if directory.is_frozen(Scope.CLUSTER):
        raise _frozen(Scope.CLUSTER, "the cluster is frozen")


def check_key(directory: Directory, key: str) -> None:
    """Raise RefusedError (`frozen.cluster`, `frozen.key`) while the key, or everything, stands still."""
    check_cluster(directory)
    if directory.is_frozen(Scope.KEY, key):
        raise _frozen(Scope.KEY, "the key is frozen")


def check_agent(directory: Directory, agent: str) -> None:
    """Raise RefusedError (`frozen.agent`) while nothing is done for the agent."""
    if directory.is_frozen(Scope.AGENT, agent):
        raise _frozen(Scope.AGENT, "the agent is frozen")


def check_chain(directory: Directory, usage: str, payload: Payload | DecryptBody) -> None:
    """Raise RefusedError (`frozen.chain`) if the payload may take effect on a chain that stands still."""
    chains = directory.frozen_chains
    if not chains:
        return
    touched = sorted(chain for chain in chains if _touches(usage, payload, chain))
    if touched:
        raise _frozen(Scope.CHAIN, f"chain {touched[0]} is frozen, and this may take effect there")


def _touches(usage: str, payload: Payload | DecryptBody, chain: str) -> bool:
    """Whether a signature of a key of `usage` over `payload` may count on `chain`."""
    match usage:
        case Usage.DECRYPT:
            return False
        case Usage.SOLANA:
            return chain == SOLANA
        case Usage.BITCOIN:
            return chain == BITCOIN
        case Usage.EVM:
            number = _chain_id(payload)
            # Without a chain id (or with 0, in an authorization) it counts on every chain.
            return chain.startswith(EVM) if not number else chain == f"{EVM}{number}"
        case _:
            return True  # opaque bytes may be anything


def _chain_id(payload: Payload | DecryptBody) -> int | None:
    for part in ("transaction", "typed_data", "delegation"):
        found = getattr(payload, part, None)
        if found is not None:
            number: int | None = found.chain_id
            return number
    return None


def _frozen(scope: Scope, detail: str) -> RefusedError:
    return RefusedError(detail, code=f"frozen.{scope}", hint="an operator froze it; `kms freeze` lists what is frozen")
