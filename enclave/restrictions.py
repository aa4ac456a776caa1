"""Documents that stop something at once: freezes, and credentials taken back (specs/freeze.md).

Rules kept: one signature stops, only the roster's quorum lets go; an agent may take its own credentials
back without asking anybody; a credential taken back never counts again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from enclave.errors import CallerError
from enclave.fields import Fields
from enclave.ids import check_id

CREDENTIAL_CHARACTERS = 43
"""A key id: base64url of 32 bytes without padding."""

_CHAIN = re.compile(r"evm:[1-9][0-9]{0,18}|solana|bitcoin")
_CREDENTIAL = re.compile(r"[A-Za-z0-9_-]{43}")


class Scope(StrEnum):
    """What a freeze stops."""

    CLUSTER = "cluster"
    AGENT = "agent"
    KEY = "key"
    CHAIN = "chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Everything within a scope stands still, or moves again."""

    cluster: bytes
    scope: Scope
    target: str | None
    """`agt_...`, `key_...`, a chain (`evm:1`, `solana`, `bitcoin`); None for the whole cluster."""
    state: str
    """`frozen` or `thawed`."""
    sequence: int
    issued_at: int
    digest: bytes = b""

    kind = "freeze"

    @property
    def subject(self) -> str:
        """What the document is about: `cluster`, or scope and target."""
        return freeze_subject(self.scope, self.target)

    @property
    def restricts(self) -> bool:
        """Whether it only takes power away."""
        return self.state == "frozen"

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        value: dict[str, Any] = {
            "type": "holdfast/freeze/v1",
            "cluster": self.cluster.hex(),
            "scope": str(self.scope),
            "state": self.state,
            "sequence": self.sequence,
            "issued_at": self.issued_at,
        }
        return value if self.target is None else value | {"id": self.target}


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRevocation:
    """One key of an agent that counts no longer; the agent's other keys do."""

    cluster: bytes
    agent: str
    credential: str
    """Key id: base64url SHA-256 of the raw public key."""
    sequence: int
    issued_at: int
    digest: bytes = b""

    kind = "credential"
    restricts = True

    @property
    def subject(self) -> str:
        """What the document is about: the agent and the credential."""
        return credential_subject(self.agent, self.credential)

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        return {
            "type": "holdfast/credential/v1",
            "cluster": self.cluster.hex(),
            "agent": self.agent,
            "credential": self.credential,
            "state": "revoked",
            "sequence": self.sequence,
            "issued_at": self.issued_at,
        }


def freeze_subject(scope: Scope, target: str | None = None) -> str:
    """Under which name a freeze is held."""
    return str(scope) if target is None else f"{scope}:{target}"


def credential_subject(agent: str, credential: str) -> str:
    """Under which name a revocation of a credential is held."""
    return f"{agent}/{credential}"


def is_target(scope: Scope, target: str | None) -> bool:
    """Whether `target` is what a freeze of `scope` names."""
    if scope is Scope.CLUSTER:
        return target is None
    if target is None:
        return False
    if scope is Scope.CHAIN:
        return _CHAIN.fullmatch(target) is not None
    try:
        check_id(target, "agt" if scope is Scope.AGENT else "key")
    except CallerError:
        return False
    return True


def read_freeze(fields: Fields, digest: bytes) -> Freeze:
    """The payload of a freeze document; raises the reader's error."""
    fields.constant("type", "holdfast/freeze/v1")
    freeze = Freeze(
        cluster=fields.hexadecimal("cluster", size=32),
        scope=Scope(fields.choice("scope", list(Scope))),
        target=fields.text("id") if "id" in fields else None,
        state=fields.choice("state", ("frozen", "thawed")),
        sequence=fields.integer("sequence", 1),
        issued_at=fields.integer("issued_at"),
        digest=digest,
    )
    fields.done()
    if not is_target(freeze.scope, freeze.target):
        fields.refuse(f"not what a freeze of scope {freeze.scope} names", "id")
    return freeze


def read_credential(fields: Fields, digest: bytes) -> CredentialRevocation:
    """The payload of a credential's revocation; raises the reader's error."""
    fields.constant("type", "holdfast/credential/v1")
    fields.constant("state", "revoked")
    revocation = CredentialRevocation(
        cluster=fields.hexadecimal("cluster", size=32),
        agent=fields.identifier("agent", "agt"),
        credential=fields.text("credential", characters_max=CREDENTIAL_CHARACTERS),
        sequence=fields.integer("sequence", 1),
        issued_at=fields.integer("issued_at"),
        digest=digest,
    )
    if not _CREDENTIAL.fullmatch(revocation.credential):
        fields.refuse("expected a key id", "credential")
    fields.done()
    return revocation
