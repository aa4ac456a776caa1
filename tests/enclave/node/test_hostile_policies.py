"""Policies that are signed by the right operator and are no policies: each refused with its code, the old one stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from attestation.canonical import canonical_json
from attestation.envelope import Envelope
from enclave.documents import sign_document
from enclave.wire.documents import ControlRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import ALLOW_MESSAGES, World

BIG = 10 << 20
DEEP = 10_000


def _insert(payload: bytes, text: bytes) -> bytes:
    """A member more at the end."""
    return payload[:-1] + b"," + text + b"}"


def _with(payload: bytes, **members: Any) -> bytes:
    return canonical_json(json.loads(payload) | members)


ROWS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "10 MB": (lambda payload: _insert(payload, b'"note":"' + b"x" * BIG + b'"'), "json.too-large"),
    "depth 10^4": (lambda payload: _insert(payload, b'"note":' + b"[" * DEEP + b"]" * DEEP), "json.too-deep"),
    "repeated member": (lambda payload: _insert(payload, b'"rules":[]'), "json.duplicate-key"),
    "number beyond 2^53": (
        lambda payload: payload.replace(b'"version":2', b'"version":9007199254740993'),
        "json.number",
    ),
    "fraction": (lambda payload: payload.replace(b'"version":2', b'"version":2.0'), "json.number"),
    "unknown member": (lambda payload: _with(payload, note="x"), "document.malformed"),
    "members in another order": (lambda payload: _insert(payload, b'"a":1'), "envelope.not-canonical"),
    "unknown member of a rule": (
        lambda payload: _with(payload, rules=[ALLOW_MESSAGES | {"valueMax": "1"}]),
        "policy.malformed",
    ),
    "rules of two names": (lambda payload: _with(payload, rules=[ALLOW_MESSAGES] * 2), "policy.malformed"),
    "too many rules": (
        lambda payload: _with(payload, rules=[ALLOW_MESSAGES | {"name": f"r{n}"} for n in range(300)]),
        "document.malformed",
    ),
    "no rules": (lambda payload: _with(payload, rules=None), "document.malformed"),
}


@pytest.mark.parametrize("name", ROWS)
def test_each_way_has_its_code(ready: World, name: str) -> None:
    """The signature is genuine; what it is over is not taken, and the version in force goes on."""
    change, code = ROWS[name]
    key = ready.create_key()
    ready.now += 1
    signed = Envelope.parse(sign_document(ready.policy_document(ALLOW_MESSAGES, version=2), ready.operator))
    payload = change(signed.payload)
    assert payload != signed.payload
    forged = replace(signed, payload=payload, signatures=()).signed(ready.operator.ed25519)
    request = ControlRequest(document=canonical_json(forged.to_json()))
    assert code_of(ready.call, "node-1", "control", request) == code
    found = ready.nodes["node-1"].directory.policy(ready.policy_id)
    assert found is not None
    assert found.version == 1
    assert ready.sign(key, b"x")
