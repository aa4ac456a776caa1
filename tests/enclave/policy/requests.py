"""Requests and policies in short form, for tests."""

from __future__ import annotations

import json
from typing import Any

from attestation.envelope import b64url
from enclave.payload.decrypt import parse_decrypt_body
from enclave.payload.sign import parse_sign_body
from enclave.policy import Decision, Policy, Request, evaluate
from tests.enclave.payload.messages import legacy
from tests.enclave.samples import AGENT, KEY, NOW

TO = "0x" + "52" * 20
OTHER = "0x" + "53" * 20

TRANSACTION: dict[str, Any] = {
    "type": 2,
    "chain_id": 1,
    "nonce": 0,
    "gas": 21000,
    "to": TO,
    "value": "1000",
    "data": "0x",
    "max_fee_per_gas": "10",
    "max_priority_fee_per_gas": "1",
}


def evm(**changes: Any) -> Request:
    """A request to sign a transaction."""
    body = {"kind": "evm_transaction", "transaction": TRANSACTION | changes}
    return _sign(json.dumps(body).encode(), "evm", "secp256k1-ecdsa")


def solana(*instructions: Any) -> Request:
    """A request to sign a Solana message."""
    body = {"kind": "solana_message", "message": b64url(legacy(instructions))}
    return _sign(json.dumps(body).encode(), "solana", "ed25519")


def message(kind: str = "message") -> Request:
    """A request to sign an opaque message or digest."""
    if kind == "digest":
        return _sign(json.dumps({"kind": kind, "digest": b64url(bytes(32))}).encode(), "evm", "secp256k1-ecdsa")
    usage, spec = ("evm", "secp256k1-ecdsa") if kind == "eip191" else ("generic", "ed25519")
    return _sign(json.dumps({"kind": kind, "message": b64url(b"hello")}).encode(), usage, spec)


def decrypt(*, recipient: bool) -> Request:
    """A request to decrypt."""
    body = {"ciphertext": b64url(bytes(range(64)))}
    if recipient:
        body["recipient"] = b64url(b"\x09" + bytes(31))
    parsed = parse_decrypt_body(json.dumps(body).encode())
    return Request(agent=AGENT, key=KEY, kind="decrypt", payload=parsed, now=NOW)


def allow(name: str = "allow", **members: Any) -> dict[str, Any]:
    """An allow rule."""
    return {"name": name, "effect": "allow"} | members


def deny(name: str = "deny", **members: Any) -> dict[str, Any]:
    """A deny rule."""
    return {"name": name, "effect": "deny"} | members


def decide(request: Request, *rules: dict[str, Any]) -> Decision:
    """Evaluate."""
    return evaluate(Policy.of(rules), request)


def _sign(body: bytes, usage: str, spec: str) -> Request:
    payload = parse_sign_body(body, usage, spec)
    return Request(agent=AGENT, key=KEY, kind=payload.kind, payload=payload, now=NOW)
