"""Rules about derivation paths: prefixes step by step, for both effects."""

from __future__ import annotations

import json

import pytest

from attestation.envelope import b64url
from enclave.payload.sign import parse_sign_body
from enclave.policy import Policy, Request, evaluate
from tests.enclave.policy.requests import allow, deny
from tests.enclave.samples import AGENT, KEY, NOW


def at(path: str | None) -> Request:
    """A request to sign a message with the child at `path`."""
    body = {"kind": "message", "message": b64url(b"hello")} | ({} if path is None else {"path": path})
    payload = parse_sign_body(json.dumps(body).encode(), "generic", "ed25519")
    return Request(agent=AGENT, key=KEY, kind="message", payload=payload, now=NOW)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("m/0", True), ("m/0/0", True), ("m/0/5", True), ("m/3/4/5", True), ("m/3", False), ("m/1", False),
     ("m/10", False), ("m", False), (None, False)],
)  # fmt: skip
def test_a_rule_with_paths_allows_what_begins_with_one(path: str | None, allowed: bool) -> None:
    """A prefix covers itself and everything below it, and nothing beside or above it."""
    policy = Policy.of([allow(kinds=["message"], paths=["m/0", "m/3/4"])])
    assert evaluate(policy, at(path)).allowed is allowed


@pytest.mark.parametrize(
    ("path", "allowed"), [(None, True), ("m", True), ("m/1", True), ("m/0", False), ("m/0/7", False)]
)
def test_a_deny_rule_closes_a_branch(path: str | None, allowed: bool) -> None:
    """Deny wins below its prefix; a rule without `paths` is about the key and all its children."""
    policy = Policy.of([allow(kinds=["message"]), deny("closed", paths=["m/0"])])
    assert evaluate(policy, at(path)).allowed is allowed


def test_the_explanation_names_the_path() -> None:
    """What was looked at is told."""
    decision = evaluate(Policy.of([allow(kinds=["message"], paths=["m/0"])]), at("m/1"))
    assert "path m/1 is not in the list" in decision.reason
