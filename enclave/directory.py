"""The control documents a node holds: agents, policies, key states and restrictions, sealed so that none is undone.

Rules kept: only documents that verify under this node's roster enter; per subject only newer ones; a
revocation survives restarts because the store notices a missing or older row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attestation.envelope import Envelope
from attestation.errors import CodedError
from enclave.approvals.approver import Approver, roster_approver
from enclave.boots import Admission
from enclave.documents import (
    Agent,
    Document,
    KeyState,
    PolicyDocument,
    check_not_ahead,
    parse_document,
    reread_document,
    supersedes,
)
from enclave.enrolment import Enrolment
from enclave.errors import RefusedError, StorageError
from enclave.policy.widening import widens
from enclave.restrictions import Freeze, Scope, credential_subject, freeze_subject
from enclave.roster import Roster
from enclave.seal import SealedStore
from enclave.signing_key import PublicKey

DOCUMENTS_MAX = 100_000
"""Documents held; about 40 MB with keys and rules parsed."""


class Directory:
    """Documents by (kind, subject)."""

    def __init__(self, store: SealedStore, roster: Roster) -> None:
        """Load and verify everything again under `roster`; raises StorageError if something no longer counts."""
        self._store = store
        self._roster = roster
        self._documents: dict[tuple[str, str], Document] = {}
        self._by_digest: dict[bytes, Document] = {}
        self._frozen_chains: set[str] = set()
        self._restrictions: dict[tuple[str, str], int] = {}
        self._restrictions_sum = 0
        self._waiting: dict[str, PolicyDocument] = {}
        self.affects: Callable[[str], bool] = lambda _policy: False
        """Whether a key held here is under a policy; set by the node."""
        for name, envelope in store.items("document"):
            try:
                document = reread_document(envelope, roster)
            except CodedError as error:
                raise StorageError(
                    f"stored document {name} does not verify under the roster: {error.code}", code="storage.form"
                ) from None
            self._hold(document)
        for name, envelope in store.items("waiting"):
            document = reread_document(envelope, roster)
            if not isinstance(document, PolicyDocument):
                raise StorageError(f"stored document {name} is no policy", code="storage.form")
            self._wait(document)

    def put(self, envelope: bytes, now: int, *, admit: Callable[[Document], None] | None = None) -> Document:
        """Take a document; durable after the store's next commit.  The same document again changes nothing.

        `admit` may refuse a verified document that would replace another.

        Raises DocumentError or RefusedError (see enclave.documents), PolicyError, RefusedError (`documents.full`).
        """
        known = self._by_digest.get(Envelope.parse(envelope).digest)
        if known is not None:
            return known
        document = parse_document(envelope, self._roster, agents=self.credentials)
        name = (document.kind, document.subject)
        held = self._documents.get(name)
        waiting = self._waiting.get(document.subject) if isinstance(document, PolicyDocument) else None
        if not supersedes(document, waiting or held):
            return document
        check_not_ahead(document, now)
        if admit is not None:
            admit(document)
        if held is None and len(self._documents) >= DOCUMENTS_MAX and not document.restricts:
            raise RefusedError(f"this node holds {DOCUMENTS_MAX} documents already", code="documents.full")
        if isinstance(document, PolicyDocument):
            self._stop_waiting(document.policy)
            if self.affects(document.policy) and widens(held if isinstance(held, PolicyDocument) else None, document):
                self._store.put("waiting", document.policy, envelope)
                self._wait(document)
                return document
        self._store.put("document", ":".join(name), envelope)
        self._hold(document)
        return document

    def waiting(self, policy: str) -> PolicyDocument | None:
        """A version of a policy that may allow more than the one in force, before its activation: both must allow."""
        return self._waiting.get(policy)

    @property
    def waits(self) -> list[bytes]:
        """Digests of the policies that wait for activation."""
        return [document.digest for document in self._waiting.values()]

    def activate(self, policy: str, digest: bytes) -> bool:
        """Put a waiting version in force; False if it is already.  Raises RefusedError (`activation.digest`)."""
        document, held = self._waiting.get(policy), self.policy(policy)
        if document is None or document.digest != digest:
            if held is not None and held.digest == digest:
                return False
            raise RefusedError("this node does not wait for that version", code="activation.digest")
        envelope = self._store.get("waiting", policy)
        assert envelope is not None
        self._stop_waiting(policy)
        self._store.put("document", f"{document.kind}:{policy}", envelope)
        self._hold(document)
        return True

    def follow(self, roster: Roster) -> None:
        """Verify what comes from now on under another roster; what is held was verified when it came."""
        self._roster = roster

    def enrolment(self, slot: str) -> Admission | None:
        """The newest enrolment of a slot, if any."""
        document = self._documents.get(("enrol", slot))
        if not isinstance(document, Enrolment):
            return None
        return Admission(
            identity_key=document.identity_key, boot_counter=document.boot_counter, sequence=document.sequence
        )

    def agent(self, agent: str) -> Agent | None:
        """The agent's newest document, if any."""
        document = self._documents.get(("agent", agent))
        return document if isinstance(document, Agent) else None

    def policy(self, policy: str) -> PolicyDocument | None:
        """The policy's newest version, if any."""
        document = self._documents.get(("policy", policy))
        return document if isinstance(document, PolicyDocument) else None

    def is_enabled(self, key: str) -> bool:
        """Whether a key may be used: yes unless its newest state document says `disabled`."""
        document = self._documents.get(("key-state", key))
        return not isinstance(document, KeyState) or document.state == "enabled"

    def agent_key(self, agent: str, kid: str) -> PublicKey | None:
        """The registered key of an agent, revoked ones included: the caller tells the two refusals apart."""
        document = self.agent(agent)
        if document is None:
            return None
        return next((key for key in document.keys if key.kid == kid), None)

    def approver(self, approver: str) -> Approver | None:
        """The approver's newest document, or what the roster says of them."""
        document = self._documents.get(("approver", approver))
        return document if isinstance(document, Approver) else roster_approver(self._roster, approver)

    def credentials(self, agent: str) -> Iterator[PublicKey]:
        """The keys of an agent that count now."""
        document = self.agent(agent)
        for key in document.keys if document is not None and document.state == "active" else ():
            if not self.is_taken_back(agent, key.kid):
                yield key

    def is_taken_back(self, agent: str, kid: str) -> bool:
        """Whether that credential of the agent was revoked alone."""
        return ("credential", credential_subject(agent, kid)) in self._documents

    def is_frozen(self, scope: Scope, target: str | None = None) -> bool:
        """Whether the newest word on that scope and target is `frozen`."""
        document = self._documents.get(("freeze", freeze_subject(scope, target)))
        return isinstance(document, Freeze) and document.restricts

    @property
    def frozen_chains(self) -> frozenset[str]:
        """Every chain that is frozen now."""
        return frozenset(self._frozen_chains)

    @property
    def restrictions(self) -> list[tuple[str, str]]:
        """(kind, subject) of every document held that only takes power away, newest taken last."""
        return list(self._restrictions)

    @property
    def restrictions_digest(self) -> bytes:
        """32 bytes that are equal where the same restrictions are held, in whatever order they came."""
        return self._restrictions_sum.to_bytes(32, "big")

    def holds(self, digest: bytes) -> bool:
        """Whether the document of that digest is held."""
        return digest in self._by_digest

    def envelope(self, name: tuple[str, str]) -> bytes | None:
        """The signed bytes of a document by (kind, subject)."""
        return self._store.get("document", ":".join(name))

    @property
    def digests(self) -> list[bytes]:
        """Digests of everything held."""
        return list(self._by_digest)

    def _wait(self, document: PolicyDocument) -> None:
        self._waiting[document.policy] = document
        self._by_digest[document.digest] = document

    def _stop_waiting(self, policy: str) -> None:
        document = self._waiting.pop(policy, None)
        if document is not None:
            self._by_digest.pop(document.digest, None)
            self._store.delete("waiting", policy)

    def _hold(self, document: Document) -> None:
        name = (document.kind, document.subject)
        replaced = self._documents.get(name)
        if replaced is not None:
            self._by_digest.pop(replaced.digest, None)
        self._documents[name] = document
        self._by_digest[document.digest] = document
        # A sum of digests: whoever could find other documents with the same sum would still lack their signatures.
        self._restrictions_sum -= self._restrictions.pop(name, 0)
        if document.restricts:
            self._restrictions[name] = int.from_bytes(document.digest, "big")
            self._restrictions_sum += self._restrictions[name]
        self._restrictions_sum %= 1 << 256
        if isinstance(document, Freeze) and document.scope is Scope.CHAIN and document.target is not None:
            self._frozen_chains.discard(document.target)
            if document.restricts:
                self._frozen_chains.add(document.target)
