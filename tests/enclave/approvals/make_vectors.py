"""Writes specs/vectors/approvals.json: bodies, their summaries and fingerprints (`python -m tests...make_vectors`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attestation.envelope import b64url
from enclave.approvals.fingerprint import decision_bytes, fingerprint_of, operation_id, parked_bytes
from enclave.approvals.summary import parse_waiting, render
from enclave.certificate import KeyCertificate
from enclave.tokens import Act, Token
from tests.enclave.payload.messages import legacy
from tests.enclave.policy.requests import TRANSACTION
from tests.enclave.samples import AGENT, NOW, POLICY, an_id
from tests.enclave.test_certificate import a_certificate

FILE = Path(__file__).parents[3] / "specs" / "vectors" / "approvals.json"

CLUSTER, REQUEST = bytes(range(32)), bytes(range(32, 64))
SEALED = {"ciphertext": b64url(bytes(64)), "recipient": b64url(b"\x09" + bytes(31)), "context": {"case": "7é\n"}}

CASES: dict[str, tuple[str, str, Act, dict[str, Any]]] = {
    "payment": ("evm", "secp256k1-ecdsa", Act.SIGN, {"kind": "evm_transaction", "transaction": TRANSACTION}),
    "child key with a deadline": (
        "generic", "ed25519", Act.SIGN,
        {"kind": "message", "message": b64url(b"hello"), "path": "m/0/5", "not_after": NOW + 60},
    ),
    "solana": ("solana", "ed25519", Act.SIGN, {"kind": "solana_message", "message": b64url(legacy(()))}),
    "digest": ("evm", "secp256k1-ecdsa", Act.SIGN, {"kind": "digest", "digest": b64url(bytes(32))}),
    "long message": ("generic", "ed25519", Act.SIGN, {"kind": "message", "message": b64url(bytes(4000))}),
    "decryption": ("decrypt", "hpke-x25519", Act.DECRYPT, SEALED),
}  # fmt: skip


def case(name: str) -> dict[str, Any]:
    """One request in words, and everything signed about it."""
    usage, spec, act, value = CASES[name]
    body = json.dumps(value).encode()
    key: KeyCertificate = a_certificate(usage=usage, spec=spec)
    resource = f"{key.key}/{key.version}"
    token = Token(
        issuer=AGENT, kid="", act=act, resource=resource, request_id=REQUEST, issued_at=NOW, expires_at=NOW + 60,
        jti="", method="", url="",
    )  # fmt: skip
    expires_at = min(NOW + 86_400, value.get("not_after", NOW + 86_400))
    summary = render(token, key, body, parse_waiting(body, act, key), expires_at=expires_at)
    fingerprint = fingerprint_of(
        cluster=CLUSTER, request_id=REQUEST, body=body, resource=resource, policy=POLICY, policy_version=7,
        summary=summary, expires_at=expires_at,
    )  # fmt: skip
    approver = an_id("apr")
    return {
        "name": name,
        "body": body.decode(),
        "act": str(act),
        "issuer": AGENT,
        "key": {"resource": resource, "name": key.name, "usage": usage, "spec": spec},
        "policy": POLICY,
        "policy_version": 7,
        "expires_at": expires_at,
        "summary": summary,
        "fingerprint": fingerprint.hex(),
        "approve": decision_bytes(
            cluster=CLUSTER, fingerprint=fingerprint, approver=approver, decision="approve"
        ).hex(),
        "reject": decision_bytes(cluster=CLUSTER, fingerprint=fingerprint, approver=approver, decision="reject").hex(),
        "parked": parked_bytes(
            cluster=CLUSTER, slot="node-1", boot_counter=3, request_id=REQUEST, fingerprint=fingerprint,
            received_at=NOW + 1, expires_at=expires_at,
        ).hex(),
    }  # fmt: skip


def text() -> str:
    """The file."""
    value = {
        "cluster": CLUSTER.hex(),
        "request_id": REQUEST.hex(),
        "operation": operation_id(REQUEST),
        "approver": an_id("apr"),
        "cases": [case(name) for name in CASES],
    }
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
