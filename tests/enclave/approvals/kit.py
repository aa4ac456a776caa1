"""Approvers and waiting requests for tests: what honest clients and a gateway would make, and every knob to turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from enclave.approvals.approver import Approver
from enclave.approvals.fingerprint import decision_bytes, fingerprint_of
from enclave.approvals.summary import parse_waiting, render
from enclave.certificate import KeyCertificate
from enclave.ids import new_id
from enclave.signing_key import SigningKey
from enclave.tokens import Token, key_resource, verify_token
from enclave.wire.approvals import Approval, ApprovedRequest, Granted, Parked, ParkedRequest, ParkRequest
from tests.enclave.node.codes import code_of
from tests.enclave.node.world import World

GROUP = "treasury"
TERMS: dict[str, Any] = {"group": GROUP, "minimum": 2}

WAITS: dict[str, Any] = {
    "name": "waits",
    "effect": "allow",
    "kinds": ["message", "evm_transaction", "decrypt", "rewrap"],
    "evm": {"value_max": "1000"},
    "approvals": TERMS,
}
"""Everything waits for two of the treasury."""


class Person:
    """An approver with keys of their own."""

    def __init__(self, name: str, *keys: SigningKey, groups: Sequence[str] = (GROUP,)) -> None:
        self.id = new_id("apr")
        self.name = name
        self.keys = keys or (SigningKey.generate(),)
        self.groups = tuple(groups)

    def document(self, world: World, *, state: str = "active", sequence: int = 1, **changes: Any) -> Approver:
        """The registration."""
        fields: dict[str, Any] = {
            "cluster": world.roster.cluster_id,
            "approver": self.id,
            "name": self.name,
            "groups": self.groups,
            "keys": tuple(key.public for key in self.keys),
            "state": state,
            "sequence": sequence,
            "issued_at": world.now,
        }
        return Approver(**(fields | changes))

    def decides(
        self,
        world: World,
        fingerprint: bytes,
        decision: str = "approve",
        *,
        key: SigningKey | None = None,
        **changes: Any,
    ) -> Approval:
        """A signed decision; `changes` go into what is signed."""
        signer = key or self.keys[0]
        signed = {"cluster": world.roster.cluster_id, "fingerprint": fingerprint, "approver": self.id} | changes
        signature = signer.sign(decision_bytes(decision=decision, **signed))
        return Approval(approver=self.id, credential=signer.kid, signature=signature)


class Asked:
    """One request of the agent, parked at every node."""

    def __init__(self, world: World, key: KeyCertificate, body: bytes, *, act: str = "sign", **claims: Any) -> None:
        self.world, self.key, self.body = world, key, body
        self.text = world.token(key, body, act=act, **claims)
        self.statements: list[Parked] = []

    def park(self, *slots: str) -> list[Parked]:
        """Have nodes (all by default) verify it."""
        request = ParkRequest(token=self.text, body=self.body)
        self.statements = [self.world.call(slot, "park", request) for slot in slots or self.world.slots]
        return self.statements

    def renewed(self, *slots: str) -> list[Parked]:
        """Statements of the present boots."""
        request = ParkedRequest(request_id=self.request_id)
        return [self.world.call(slot, "parked", request) for slot in slots or self.world.slots]

    @property
    def token(self) -> Token:
        """What the token says, as the approver's client reads it."""
        world = self.world
        known = {world.operator_id: world.operator, world.agent_id: world.agent}
        return verify_token(
            self.text,
            body=self.body,
            cluster=world.roster.cluster_id,
            now=self.statements[0].received_at if self.statements else world.now,
            keys=lambda issuer, _kid: known[issuer].public,
            act=None,
        )

    @property
    def request_id(self) -> bytes:
        """SHA-256 of the token."""
        return self.token.request_id

    def fingerprint(self, **changes: Any) -> bytes:
        """What an honest client computes from the bytes, knowing policy version and end."""
        token, statement = self.token, self.statements[0]
        payload = parse_waiting(self.body, token.act, self.key)
        expires_at = changes.get("expires_at", statement.expires_at)
        facts: dict[str, Any] = {
            "cluster": self.world.roster.cluster_id,
            "request_id": token.request_id,
            "body": self.body,
            "resource": key_resource(self.key.key, self.key.version),
            "policy": self.world.policy_id,
            "policy_version": statement.policy_version,
            "summary": render(token, self.key, self.body, payload, expires_at=expires_at),
            "expires_at": expires_at,
        }
        return fingerprint_of(**(facts | changes))

    def request(self, approvals: Iterable[Approval], **changes: Any) -> ApprovedRequest:
        """What a gateway hands to nodes."""
        made = ApprovedRequest(
            token=self.text, body=self.body, statements=list(self.statements), approvals=list(approvals)
        )
        return msgspec.structs.replace(made, **changes)

    def grant(self, *people: Person, slots: Sequence[str] = (), connection: int = 1) -> list[Granted]:
        """Have these people approve and nodes (all by default) take it."""
        request = self.request(person.decides(self.world, self.fingerprint()) for person in people)
        return [self.world.call(slot, "approved", request, connection=connection) for slot in slots or self.world.slots]


def refused_grant(asked: Asked, request: ApprovedRequest, *, connection: int = 1) -> str:
    """The code with which a node refuses to take approvals."""
    return code_of(asked.world.call, "node-1", "approved", request, connection=connection)


def both(asked: Asked, people: Sequence[Person]) -> list[Approval]:
    """Two good approvals."""
    return [person.decides(asked.world, asked.fingerprint()) for person in people[:2]]
