"""The gateway's view of operators, agents, policies and key states: who may talk to it, and what to show to whom.

It refuses early and hides what is none of a principal's business; what really counts is each node's own
directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from enclave.approvals.approver import Approver, roster_approver
from enclave.documents import Agent, Document, KeyState, PolicyDocument, check_not_ahead, reread_document
from enclave.errors import RefusedError
from enclave.federation import Federation
from enclave.restrictions import Freeze, credential_subject
from enclave.roster import Role, Roster
from enclave.signing_key import PublicKey
from kms.store.protocol import StoredDocument
from kms.visibility import NOBODY, Audience


class Directory:
    """Documents by (kind, subject), with the envelopes they came in."""

    def __init__(self, roster: Roster) -> None:
        self.follow(roster)
        self._documents: dict[tuple[str, str], Document] = {}
        self._envelopes: dict[tuple[str, str], bytes] = {}
        self._audience: dict[str, Audience] = {}

    def follow(self, roster: Roster) -> None:
        """Another roster's operators count from now on; documents stay as they are."""
        self.roster = roster
        self._operators = {entry.operator: entry for entry in roster.operators}

    def load(self, stored: Iterable[StoredDocument]) -> None:
        """Take what the store kept; raises DocumentError if it no longer verifies under the roster."""
        for item in stored:
            self.put(reread_document(item.envelope, self.roster), item.envelope)

    def check(self, document: Document, now: int) -> None:
        """Raise RefusedError if `document` cannot follow what is held (a revoked agent stays revoked), or is ahead."""
        held = self._documents.get((document.kind, document.subject))
        if isinstance(held, Agent | Approver) and held.state == "revoked" and document.digest != held.digest:
            raise RefusedError(f"{held.kind} was revoked", code="document.revoked", hint="register it under a new id")
        if held is None or document.digest != held.digest:
            check_not_ahead(document, now)

    def put(self, document: Document, envelope: bytes) -> None:
        """Let `document` count from now on."""
        self._documents[document.kind, document.subject] = document
        self._envelopes[document.kind, document.subject] = envelope
        if isinstance(document, PolicyDocument):
            self._audience[document.policy] = Audience(document.compiled.rules)

    def credential(self, issuer: str, kid: str) -> PublicKey | None:
        """The registered key of an operator or an active agent, or None."""
        document = self._documents.get(("agent", issuer))
        if isinstance(document, Agent):
            return None if self._is_taken_back(issuer, kid) else document.key(kid)
        if issuer.startswith("apr_"):
            approver = self.approver(issuer)
            return None if approver is None else approver.key(kid)
        return self.roster.operator_key(issuer, kid)

    @property
    def federation(self) -> Federation:
        """Who may speak for agents beside their registered keys."""
        return Federation(roster=self.roster, agent=self.agent)

    def agent(self, agent: str) -> Agent | None:
        """An active agent's document, or None."""
        document = self._documents.get(("agent", agent))
        return document if isinstance(document, Agent) and document.state == "active" else None

    def counts(self, principal: str, kid: str) -> bool:
        """Whether a credential that was accepted still is: its key, or for a federated agent the agent itself."""
        agent = self.agent(principal)
        if agent is not None and agent.subjects and not self._is_taken_back(principal, kid):
            return True
        return self.credential(principal, kid) is not None

    def approver(self, approver: str) -> Approver | None:
        """An approver by id, from a document or the roster."""
        document = self._documents.get(("approver", approver))
        return document if isinstance(document, Approver) else roster_approver(self.roster, approver)

    def approvers(self) -> Iterator[tuple[Approver, bytes]]:
        """Every approver that has a document, with its envelope, revoked ones included."""
        for name, document in self._documents.items():
            if isinstance(document, Approver):
                yield document, self._envelopes[name]

    def credentials(self, agent: str) -> Iterator[PublicKey]:
        """The keys of an agent that count now."""
        document = self._documents.get(("agent", agent))
        if isinstance(document, Agent) and document.state == "active":
            yield from (key for key in document.keys if not self._is_taken_back(agent, key.kid))

    def freezes(self) -> Iterator[tuple[Freeze, bytes]]:
        """The newest word on everything that was ever frozen, with its envelope."""
        for name, document in self._documents.items():
            if isinstance(document, Freeze):
                yield document, self._envelopes[name]

    def roles(self, principal: str) -> frozenset[Role]:
        """The roles of an operator; empty for agents."""
        entry = self._operators.get(principal)
        return entry.roles if entry is not None else frozenset()

    def is_operator(self, principal: str) -> bool:
        """Whether the principal is an operator of the roster."""
        return principal in self._operators

    def agents(self) -> Iterator[tuple[Agent, bytes]]:
        """Every agent with its envelope, revoked ones included."""
        for name, document in self._documents.items():
            if isinstance(document, Agent):
                yield document, self._envelopes[name]

    def policy(self, policy: str) -> tuple[PolicyDocument, bytes] | None:
        """A policy's newest version with its envelope."""
        document = self._documents.get(("policy", policy))
        if not isinstance(document, PolicyDocument):
            return None
        return document, self._envelopes["policy", policy]

    def key_state(self, key: str) -> str:
        """`enabled` or `disabled`."""
        document = self._documents.get(("key-state", key))
        return document.state if isinstance(document, KeyState) else "enabled"

    def may_see(self, principal: str, *, key: str, policy: str) -> bool:
        """Whether a key may be shown to a principal: to operators, and to agents its policy allows something."""
        if self.is_operator(principal):
            return True
        return self._audience.get(policy, NOBODY).includes(principal, key)

    def may_see_policy(self, principal: str, policy: str) -> bool:
        """Whether a policy may be shown to a principal: to operators, and to agents it allows something."""
        if self.is_operator(principal):
            return True
        return self._audience.get(policy, NOBODY).includes(principal, None)

    def newest(self) -> list[tuple[bytes, bytes]]:
        """(digest, envelope) of every document that counts, what stops something first, for nodes that were away."""
        order = {"freeze": 0, "enrol": 0, "agent": 1, "approver": 1, "credential": 2, "key-state": 3, "policy": 4}
        names = sorted(self._documents, key=lambda name: order[name[0]])
        return [(self._documents[name].digest, self._envelopes[name]) for name in names]

    def _is_taken_back(self, agent: str, kid: str) -> bool:
        return ("credential", credential_subject(agent, kid)) in self._documents
