"""Control documents: agents, policies, key states and restrictions, signed by operators (specs/control-documents.md).

Rules kept: a document counts only for its cluster and under operators whose role allows its kind;
each subject's sequence only rises; the same document again changes nothing; a revoked agent stays
revoked.  What takes power away (revoke, disable) needs one signature, what gives it needs the
roster's quorum for that kind.  What one operator may sign alone cannot be numbered so high that
nothing could follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from attestation.canonical import canonical_json
from attestation.envelope import Envelope, b64url, pre_authentication
from attestation.errors import CodedError, DocumentError
from enclave.approvals.approver import Approver, read_approver
from enclave.enrolment import Enrolment, read_enrolment
from enclave.errors import RefusedError
from enclave.fields import Fields
from enclave.limits.terms import BUDGETS_MAX, GUARDS, Limits
from enclave.policy.rules import Policy
from enclave.restrictions import CredentialRevocation, Freeze, read_credential, read_freeze
from enclave.roster import Role, Roster
from enclave.signing_key import PublicKey, SigningKey

AGENT_KEYS_MAX = 8
"""Most keys of one agent: rotation needs two, several devices a few more."""

AGENT_SUBJECTS_MAX = 8
"""Most identities of one agent at identity providers."""

SUBJECT_CHARACTERS_MAX = 255
"""Longest `sub` (OpenID Connect Core 1.0, section 2)."""

KINDS = ("agent", "policy", "key-state", "freeze", "credential", "approver", "enrol")

AgentKeys = Callable[[str], Iterable[PublicKey]]
"""The keys of an agent that count now."""

SEQUENCE_AHEAD_S_MAX = 60
"""How far a sequence may lie ahead of the clock, read as Unix milliseconds: twelve times the skew tokens tolerate."""


def payload_type(kind: str) -> str:
    """The envelope's payload type for a kind of document."""
    return f"application/vnd.holdfast.{kind}+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent's registered keys and standing."""

    cluster: bytes
    agent: str
    name: str
    keys: tuple[PublicKey, ...]
    state: str
    """`active` or `revoked`."""
    sequence: int
    issued_at: int
    subjects: tuple[tuple[str, str], ...] = ()
    """(issuer, subject) pairs whose access tokens speak for the agent (enclave.federation)."""
    digest: bytes = b""

    kind = "agent"

    @property
    def subject(self) -> str:
        """What the document is about: the agent id."""
        return self.agent

    @property
    def restricts(self) -> bool:
        """Whether it only takes power away."""
        return self.state == "revoked"

    def key(self, kid: str) -> PublicKey | None:
        """The key with this key id while the agent is active, else None."""
        if self.state != "active":
            return None
        return next((key for key in self.keys if key.kid == kid), None)

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        return {
            "type": "holdfast/agent/v1",
            "cluster": self.cluster.hex(),
            "agent": self.agent,
            "name": self.name,
            "keys": [{"alg": key.algorithm, "key": b64url(key.key)} for key in self.keys],
            "state": self.state,
            "sequence": self.sequence,
            "issued_at": self.issued_at,
            **self._federated(),
        }

    def _federated(self) -> dict[str, Any]:
        pairs = [{"issuer": issuer, "subject": subject} for issuer, subject in self.subjects]
        return {"oidc": pairs} if pairs else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDocument:
    """One immutable version of a policy; building one raises PolicyError unless its rules are valid."""

    cluster: bytes
    policy: str
    name: str
    version: int
    rules: Sequence[Mapping[str, Any]]
    """The rules as JSON."""
    issued_at: int
    budgets: Sequence[Mapping[str, Any]] = ()
    """The budgets as JSON."""
    rate: Mapping[str, Any] | None = None
    """The rate as JSON."""
    nonce_guard: str | None = None
    """`on`, `fee-bump` or `off`; None where the document does not say, which means `on`."""
    digest: bytes = b""
    compiled: Policy = field(init=False, repr=False, compare=False)
    """The rules as `enclave.policy` evaluates them."""
    limits: Limits = field(init=False, repr=False, compare=False)
    """Budgets, rate and nonce guard as `enclave.limits` enforces them."""

    kind = "policy"
    restricts = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))
        object.__setattr__(self, "budgets", tuple(self.budgets))
        object.__setattr__(self, "compiled", Policy.of(self.rules))
        object.__setattr__(self, "limits", Limits.of(self.budgets, self.rate, self.nonce_guard))

    @property
    def subject(self) -> str:
        """What the document is about: the policy id."""
        return self.policy

    @property
    def sequence(self) -> int:
        """A policy's versions are its sequence."""
        return self.version

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        value: dict[str, Any] = {
            "type": "holdfast/policy/v1",
            "cluster": self.cluster.hex(),
            "policy": self.policy,
            "name": self.name,
            "version": self.version,
            "rules": [dict(rule) for rule in self.rules],
            "issued_at": self.issued_at,
        }
        if self.budgets:
            value["budgets"] = [dict(budget) for budget in self.budgets]
        if self.rate is not None:
            value["rate"] = dict(self.rate)
        if self.nonce_guard is not None:
            value["nonce_guard"] = self.nonce_guard
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """Whether a key may be used."""

    cluster: bytes
    key: str
    state: str
    """`enabled` or `disabled`."""
    sequence: int
    issued_at: int
    digest: bytes = b""

    kind = "key-state"

    @property
    def subject(self) -> str:
        """What the document is about: the key id."""
        return self.key

    @property
    def restricts(self) -> bool:
        """Whether it only takes power away."""
        return self.state == "disabled"

    def payload(self) -> dict[str, Any]:
        """The JSON value that is signed."""
        return {
            "type": "holdfast/key-state/v1",
            "cluster": self.cluster.hex(),
            "key": self.key,
            "state": self.state,
            "sequence": self.sequence,
            "issued_at": self.issued_at,
        }


Document = Agent | PolicyDocument | KeyState | Freeze | CredentialRevocation | Approver | Enrolment


def parse_document(envelope: bytes, roster: Roster, *, agents: AgentKeys | None = None) -> Document:
    """Read and verify a control document under `roster`; `agents` lets agents take back their own credentials.

    Raises DocumentError (`document.malformed`, `document.type`, `document.cluster`, envelope codes;
    PolicyError for a policy's rules) or RefusedError (`document.role`, `document.quorum`).
    """
    signed = Envelope.parse(envelope)
    document = _read(signed, roster)
    if isinstance(document, CredentialRevocation) and agents is not None and _is_own(document, signed, agents):
        return document
    _check_signers(document, signed, roster)
    return document


def reread_document(envelope: bytes, roster: Roster) -> Document:
    """A document that was verified when it was taken; raises as `parse_document`.

    Signatures are not asked for again: agents' keys and the roster's operators may have changed since, and what they
    signed stays until another document follows it.
    """
    signed = Envelope.parse(envelope)
    return _read(signed, roster)


def _read(signed: Envelope, roster: Roster) -> Document:
    kind = next((kind for kind in KINDS if signed.payload_type == payload_type(kind)), None)
    if kind is None:
        raise DocumentError(f"expected a document of kind {', '.join(KINDS)}", code="document.type")
    document = _READERS[kind](Fields(signed.value(), where="", error=_malformed), signed.digest)
    if document.cluster != roster.cluster_id:
        raise DocumentError("document is for another cluster", code="document.cluster")
    return document


def _is_own(document: CredentialRevocation, signed: Envelope, agents: AgentKeys) -> bool:
    """Whether it is about a key of the agent that counts now, and such a key signed."""
    message = pre_authentication(signed.payload_type, signed.payload)
    known = {key.kid: key for key in agents(document.agent)}
    return document.credential in known and any(
        name in known and known[name].verify(message, signature) for name, signature in signed.signatures
    )


def supersedes(new: Document, held: Document | None) -> bool:
    """Whether `new` replaces `held`: False if it is the same document again.

    Raises RefusedError: `document.sequence` (not newer), `document.conflict` (another content under
    the same sequence), `document.revoked` (the agent was revoked for good).  A revocation is final, so
    it replaces an active agent whatever the two sequences are.
    """
    if held is None:
        return True
    if new.digest == held.digest:
        return False
    if (new.kind, new.subject) != (held.kind, held.subject):
        raise RefusedError("documents are about different subjects", code="document.conflict")
    if isinstance(held, Agent | Approver) and held.state == "revoked":
        raise RefusedError(f"{held.kind} was revoked", code="document.revoked", hint="register it under a new id")
    if isinstance(held, CredentialRevocation):
        return False  # taken back for good: another document about it says nothing new
    if isinstance(new, Agent | Approver) and new.state == "revoked":
        return True
    if new.sequence == held.sequence:
        raise RefusedError(f"another document holds sequence {new.sequence}", code="document.conflict")
    if new.sequence < held.sequence:
        raise RefusedError(f"expected a sequence above {held.sequence}, found {new.sequence}", code="document.sequence")
    return True


def check_not_ahead(document: Document, now: int) -> None:
    """Refuse a sequence of an agent, key state or freeze beyond `now` (Unix seconds) in milliseconds and a minute.

    One operator signs these alone; without this bound the largest number would be the last word, and an
    agent could never be revoked nor a key enabled again.  A revocation passes: nothing has to follow it.

    Raises RefusedError (`document.from-future`).
    """
    if isinstance(document, PolicyDocument | CredentialRevocation):
        return
    if isinstance(document, Agent | Approver) and document.state == "revoked":
        return
    if document.sequence > (now + SEQUENCE_AHEAD_S_MAX) * 1000:
        raise RefusedError(
            "sequence lies ahead of this clock in Unix milliseconds",
            code="document.from-future",
            hint="use the time in milliseconds, or count up from 1",
        )


def sign_document(document: Document, *signers: SigningKey) -> bytes:
    """The signed envelope as bytes; the inverse of `parse_document` up to roles.

    Agents sign revocations of their credentials with whatever algorithm they have, operators with Ed25519.
    """
    envelope = Envelope.of(payload_type(document.kind), document.payload())
    for signer in signers:
        if isinstance(document, CredentialRevocation):
            signature = signer.sign(pre_authentication(envelope.payload_type, envelope.payload))
            envelope = replace(envelope, signatures=(*envelope.signatures, (signer.kid, signature)))
        else:
            envelope = envelope.signed(signer.ed25519)
    return canonical_json(envelope.to_json())


def _check_signers(document: Document, signed: Envelope, roster: Roster) -> None:
    roles = (Role.ADMIN, Role.REGISTRAR) if document.kind in ("agent", "credential") else (Role.ADMIN,)
    entitled = len(signed.signers(entry.key for entry in roster.holders(*roles)))
    # Letting a freeze go takes as many as changing the roster: whoever could outvote the freezer could replace them.
    # An approver stands between a policy and what it allows, so letting one in takes as many as changing the policy.
    action = {"freeze": "roster", "approver": "policy"}.get(document.kind, document.kind)
    needed = 1 if document.restricts else roster.quorum_for(action)
    if entitled >= needed:
        return
    if entitled:
        raise RefusedError(f"expected {needed} signatures, found {entitled}", code="document.quorum")
    if signed.signers(entry.key for entry in roster.operators):
        raise RefusedError(f"expected a signature of role {' or '.join(roles)}", code="document.role")
    raise DocumentError("expected a signature of an operator of this cluster", code="envelope.signatures")


def _malformed(detail: str) -> CodedError:
    return DocumentError(detail, code="document.malformed")


def _read_agent(fields: Fields, digest: bytes) -> Agent:
    fields.constant("type", "holdfast/agent/v1")
    agent = Agent(
        cluster=fields.hexadecimal("cluster", size=32),
        agent=fields.identifier("agent", "agt"),
        name=fields.label("name"),
        keys=tuple(_read_key(item) for item in fields.each("keys", low=int("oidc" not in fields), high=AGENT_KEYS_MAX)),
        state=fields.choice("state", ("active", "revoked")),
        sequence=fields.integer("sequence", 1),
        issued_at=fields.integer("issued_at"),
        subjects=_read_subjects(fields),
        digest=digest,
    )
    if len({key.kid for key in agent.keys}) != len(agent.keys):
        fields.refuse("expected distinct keys", "keys")
    fields.done()
    return agent


def _read_subjects(fields: Fields) -> tuple[tuple[str, str], ...]:
    if "oidc" not in fields:
        return ()
    pairs = tuple(
        (item.text("issuer", characters_max=256), item.text("subject", characters_max=SUBJECT_CHARACTERS_MAX))
        for item in fields.each("oidc", low=1, high=AGENT_SUBJECTS_MAX)
    )
    if len(set(pairs)) != len(pairs):
        fields.refuse("expected distinct subjects", "oidc")
    return pairs


def _read_key(fields: Fields) -> PublicKey:
    algorithm = fields.take("alg")
    key = fields.base64("key", size_max=33)
    try:
        return PublicKey.parse(algorithm, key)
    except DocumentError as error:
        fields.refuse(error.detail, "key")


def _read_policy(fields: Fields, digest: bytes) -> PolicyDocument:
    fields.constant("type", "holdfast/policy/v1")
    document = PolicyDocument(
        cluster=fields.hexadecimal("cluster", size=32),
        policy=fields.identifier("policy", "pol"),
        name=fields.label("name"),
        version=fields.integer("version", 1),
        rules=tuple(fields.items("rules", high=256)),
        issued_at=fields.integer("issued_at"),
        budgets=tuple(fields.items("budgets", low=1, high=BUDGETS_MAX, default=())),
        rate=fields.mapping("rate", high=8) if "rate" in fields else None,
        nonce_guard=fields.choice("nonce_guard", GUARDS) if "nonce_guard" in fields else None,
        digest=digest,
    )
    fields.done()
    return document


def _read_key_state(fields: Fields, digest: bytes) -> KeyState:
    fields.constant("type", "holdfast/key-state/v1")
    state = KeyState(
        cluster=fields.hexadecimal("cluster", size=32),
        key=fields.identifier("key", "key", "sec"),
        state=fields.choice("state", ("enabled", "disabled")),
        sequence=fields.integer("sequence", 1),
        issued_at=fields.integer("issued_at"),
        digest=digest,
    )
    fields.done()
    return state


class _Reader(Protocol):
    def __call__(self, fields: Fields, digest: bytes) -> Document: ...


_READERS: dict[str, _Reader] = {
    "agent": _read_agent,
    "policy": _read_policy,
    "key-state": _read_key_state,
    "freeze": read_freeze,
    "credential": read_credential,
    "enrol": read_enrolment,
    "approver": read_approver,
}
