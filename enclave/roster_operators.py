"""Who runs a cluster: operators with their keys and roles, and how many of them each action takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from attestation.envelope import b64url
from attestation.errors import DocumentError
from enclave.fields import Fields
from enclave.signing_key import PublicKey

OPERATORS_MAX = 64
"""Most operators: every one can sign, and an envelope holds 64 signatures."""

ONE_SIGNATURE = frozenset({"agent", "enrol", "refresh", "cold-start"})
"""Actions that one operator may decide alone in production too, unless the roster names a quorum for them."""

QUORUM_ACTIONS = (
    *("roster", "agent", "policy", "key-state", "enrol", "refresh", "reshare", "rotate", "repair"),
    *("restore", "cold-start", "import", "export", "delete"),
)
"""Actions with a quorum of their own; absent ones take 1 if in `ONE_SIGNATURE`, else `quorum_default`."""


class Role(StrEnum):
    """What an operator may sign or read."""

    ADMIN = "admin"
    REGISTRAR = "registrar"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorEntry:
    """A person or service that signs documents: `key` is a raw Ed25519 public key (32 bytes)."""

    operator: str
    name: str
    key: bytes
    roles: frozenset[Role]

    @property
    def public(self) -> PublicKey:
        """The key in the form request tokens are verified with."""
        return PublicKey(algorithm="EdDSA", key=self.key)


def read_operator(fields: Fields) -> OperatorEntry:
    """One entry of `operators`; raises the reader's error."""
    operator = fields.identifier("operator", "opr")
    name = fields.text("name")
    key = fields.base64("key", size=32)
    try:
        PublicKey.parse("EdDSA", key)
    except DocumentError as error:
        fields.refuse(error.detail, "key")
    roles = fields.texts("roles", low=1, high=len(Role))
    if not set(roles) <= set(Role):
        fields.refuse(f"expected roles of {', '.join(Role)}", "roles")
    return OperatorEntry(operator=operator, name=name, key=key, roles=frozenset(Role(role) for role in roles))


def read_quorum(fields: Fields) -> dict[str, int]:
    """The members of `quorum`; raises the reader's error."""
    quorum = {name: fields.integer(name, 1, OPERATORS_MAX) for name in QUORUM_ACTIONS if name in fields}
    if "roster" not in quorum:
        fields.refuse("required member is absent", "roster")
    fields.done()
    return quorum


def operator_payload(entry: OperatorEntry) -> dict[str, Any]:
    """The JSON form of an operator."""
    return {
        "operator": entry.operator,
        "name": entry.name,
        "key": b64url(entry.key),
        "roles": sorted(entry.roles),
    }
