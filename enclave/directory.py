"""The control documents a node holds: agents, policies and key states, sealed so that none can be undone.

Rules kept: only documents that verify under this node's roster enter; per subject only newer ones; a
revocation survives restarts because the store notices a missing or older row.
"""

from __future__ import annotations

from attestation.errors import CodedError
from enclave.documents import (
    Agent,
    Document,
    KeyState,
    PolicyDocument,
    check_not_ahead,
    parse_document,
    supersedes,
)
from enclave.errors import RefusedError, StorageError
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
        for name, envelope in store.items("document"):
            try:
                document = parse_document(envelope, roster)
            except CodedError as error:
                raise StorageError(
                    f"stored document {name} does not verify under the roster: {error.code}", code="storage.form"
                ) from None
            self._documents[document.kind, document.subject] = document

    def put(self, envelope: bytes, now: int) -> Document:
        """Take a document; durable after the store's next commit.  The same document again changes nothing.

        Raises DocumentError or RefusedError (see enclave.documents), PolicyError, RefusedError (`documents.full`).
        """
        document = parse_document(envelope, self._roster)
        name = (document.kind, document.subject)
        held = self._documents.get(name)
        if not supersedes(document, held):
            return document
        check_not_ahead(document, now)
        if held is None and len(self._documents) >= DOCUMENTS_MAX and not document.restricts:
            raise RefusedError(f"this node holds {DOCUMENTS_MAX} documents already", code="documents.full")
        self._store.put("document", ":".join(name), envelope)
        self._documents[name] = document
        return document

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

    @property
    def digests(self) -> list[bytes]:
        """Digests of everything held."""
        return [document.digest for document in self._documents.values()]
