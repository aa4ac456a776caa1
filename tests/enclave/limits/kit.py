"""Tokens, payloads, policies and sealed stores in short form, for tests of limits."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from attestation.simulated.authority import Authority
from attestation.simulated.service import Launch, SimulatedPlatformService
from enclave.documents import PolicyDocument
from enclave.payload.sign import Payload
from enclave.seal import SealedStore
from enclave.tokens import Act, Token
from tests.enclave.node.world import MRTD, LocalTee
from tests.enclave.policy.requests import allow, evm
from tests.enclave.samples import AGENT, KEY, NOW, POLICY

CLUSTER = bytes(range(32))
NUMBERS = itertools.count(1)

NATIVE = {"kind": "evm-native", "chain_id": 1}
FREE = {"gas": 21000, "max_fee_per_gas": "0", "max_priority_fee_per_gas": "0"}
"""A transaction without fees, so that values alone count."""


def a_budget(**changes: Any) -> dict[str, Any]:
    """A daily budget of a key in wei of chain 1."""
    return {"name": "daily", "asset": NATIVE, "window": "day", "cap": "1000", "per": "key"} | changes


def a_policy(*budgets: dict[str, Any], version: int = 1, **limits: Any) -> PolicyDocument:
    """A policy that allows transactions, with these limits."""
    return PolicyDocument(
        cluster=CLUSTER,
        policy=POLICY,
        name="limits",
        version=version,
        rules=[allow(kinds=["evm_transaction"])],
        issued_at=NOW,
        budgets=budgets,
        **limits,
    )


def a_token(issuer: str = AGENT, *, now: int = NOW, request_id: bytes | None = None) -> Token:
    """A verified token with a fresh request id."""
    return Token(
        issuer=issuer,
        kid="k",
        act=Act.SIGN,
        resource=f"{KEY}/1",
        request_id=request_id or next(NUMBERS).to_bytes(32, "big"),
        issued_at=now,
        expires_at=now + 60,
        jti="j",
        method="",
        url="",
    )


def a_payload(**changes: Any) -> Payload:
    """A transaction as a node parsed it."""
    return signing(evm(**changes).payload)


def signing(payload: object) -> Payload:
    """The payload of a request to sign."""
    assert isinstance(payload, Payload)
    return payload


def a_store(directory: Path, slot: str = "node-1") -> SealedStore:
    """A fresh sealed store on a simulated machine."""
    platform = Authority.create(directory / f"authority-{slot}").platform(slot)
    tee = LocalTee(SimulatedPlatformService(platform, Launch(mrtd=MRTD, mrconfigid=bytes(48)), directory / "unused"))
    return SealedStore.open(directory / slot / "node.db", cluster=CLUSTER, slot=slot, tee=tee)
