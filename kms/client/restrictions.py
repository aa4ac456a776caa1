"""Restrictions that must not depend on a gateway: freezes, thaws and revoked credentials (specs/freeze.md).

Rules kept: a document goes to every node directly and through the gateway at once; only acknowledgements signed
under attested identity keys count; what is not proven to be stopped is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from attestation.canonical import canonical_json
from attestation.collateral import Collateral
from attestation.envelope import Envelope, b64url_decode
from attestation.errors import CodedError
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from enclave.certificate import KeyCertificate
from enclave.documents import Document, parse_document, sign_document
from enclave.identity import is_signed
from enclave.key_specs import Usage
from enclave.presentation import PeerStanding, check_presentation, verifier_for
from enclave.restrictions import CredentialRevocation, Freeze, Scope
from enclave.roster import Roster
from enclave.roster_chain import judged_by
from enclave.wire.attestation import Presentation
from enclave.wire.documents import acknowledgement_bytes
from kms.client.caller import Caller
from kms.client.credentials import AgentCredentials, OperatorCredentials
from kms.client.direct import Judge, NodeWord, deliver
from kms.client.documents import Documents, next_sequence
from kms.client.errors import UnavailableError
from kms.client.keys import Keys
from kms.client.transport import Transport
from kms.client.trust import TrustAnchors
from kms.client.verification import fetch_roster, held_rosters, member, verify_cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProgress:
    """One affected key: which of its holders have proven that they hold the document, and how many are needed."""

    key: str
    name: str
    acknowledged: tuple[str, ...]
    needed: int

    @property
    def done(self) -> bool:
        """Whether the document holds for every set of signers."""
        return len(self.acknowledged) >= self.needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far a document came, by what nodes signed."""

    acknowledged: tuple[str, ...]
    """Slots whose acknowledgement verified under an attested identity key."""
    unproven: dict[str, str]
    """Slot -> why it is not among them."""
    keys: tuple[KeyProgress, ...]

    @property
    def done(self) -> bool:
        """Whether every affected key is covered; without keys, whether every node is."""
        return all(key.done for key in self.keys) if self.keys else not self.unproven

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "done": self.done,
            "acknowledged": list(self.acknowledged),
            "unproven": self.unproven,
            "keys": [
                {
                    "key": key.key,
                    "name": key.name,
                    "acknowledged": list(key.acknowledged),
                    "needed": key.needed,
                    "done": key.done,
                }
                for key in self.keys
            ],
        }


class Restrictions:
    """`client.restrictions`."""

    def __init__(
        self, caller: Caller, documents: Documents, keys: Keys, transport: Transport, trust: TrustAnchors
    ) -> None:
        self._caller = caller
        self._documents = documents
        self._keys = keys
        self._transport = transport
        self._trust = trust

    def freeze(self, scope: Scope, target: str | None, *, frozen: bool = True) -> Freeze:
        """The document that freezes, or thaws, a scope."""
        return Freeze(
            cluster=self._caller.cluster,
            scope=scope,
            target=target,
            state="frozen" if frozen else "thawed",
            sequence=next_sequence(),
            issued_at=self._caller.clock(),
        )

    def revocation(self, agent: str, credential: str) -> CredentialRevocation:
        """The document that takes one credential (key id) of an agent back."""
        return CredentialRevocation(
            cluster=self._caller.cluster,
            agent=agent,
            credential=credential,
            sequence=next_sequence(),
            issued_at=self._caller.clock(),
        )

    def sign(self, document: Document) -> bytes:
        """The envelope with the caller's signature; agents sign revocations of their own credentials."""
        credentials = self._caller.credentials
        if isinstance(document, CredentialRevocation) and isinstance(credentials, AgentCredentials):
            return sign_document(document, credentials.key)
        return self._documents.sign(document)

    async def list(self, *, roster: Roster) -> list[dict[str, Any]]:
        """The newest word on every scope that was ever frozen, as operators signed it; a gateway may leave some out."""
        answer = await self._caller.call("GET", "/v1/freeze", act="agents.list")
        documents = [
            parse_document(canonical_json(member(record, "document", dict)), roster)
            for record in member(answer, "freezes", list)
        ]
        return [
            {"scope": str(document.scope), "id": document.target, "state": document.state, "at": document.issued_at}
            for document in documents
            if isinstance(document, Freeze)
        ]

    async def deliver(self, envelope: bytes) -> Report:
        """Hand a signed document to every node, directly and through the gateway, and count what they prove.

        Raises UnavailableError if neither the gateway nor the cluster file tells the roster.
        """
        roster = await self._roster()
        document = self._read(envelope, roster)
        relayed, judge = await asyncio.gather(self._relay(document, envelope), self._judge(roster))
        words: Sequence[NodeWord] = await asyncio.gather(
            *(deliver(entry, envelope, judge=judge) for entry in roster.slots)
        )
        if relayed and any(word.standing is None for word in words):
            words = await self._completed(words)
        return _report(document, words, relayed, roster)

    def _read(self, envelope: bytes, roster: Roster) -> Document:
        credentials = self._caller.credentials
        own = credentials if isinstance(credentials, AgentCredentials) else None
        return parse_document(
            envelope, roster, agents=lambda agent: [own.key.public] if own is not None and own.issuer == agent else []
        )

    async def _completed(self, words: Sequence[NodeWord]) -> Sequence[NodeWord]:
        """Evidence of nodes that cannot be reached from here, and keys that only they hold, through the gateway."""
        certificates = []
        try:
            view = await verify_cluster(self._transport, self._trust, now=self._caller.clock())
            if isinstance(self._caller.credentials, OperatorCredentials):
                certificates = [key.certificate async for key in self._keys.list()]
        except CodedError:
            return words
        return [
            word
            if word.standing is not None
            else replace(
                word,
                standing=view.nodes[word.slot].standing,
                keys=tuple(key for key in certificates if key.node(word.slot) is not None),
            )
            for word in words
        ]

    async def _roster(self) -> Roster:
        try:
            return await fetch_roster(self._transport, self._trust)
        except UnavailableError:
            return held_rosters(self._trust)[-1]

    async def _relay(self, document: Document, envelope: bytes) -> dict[str, bytes]:
        """Slot -> signature of the acknowledgements that came back through the gateway; empty if it does not help."""
        try:
            answer = await self._documents.send(document, envelope)
            return {
                str(item["slot"]): b64url_decode(item["signature"]) for item in member(answer, "acknowledgements", list)
            }
        except (CodedError, KeyError, TypeError):
            return {}

    async def _judge(self, roster: Roster) -> Judge | None:
        """Collateral and registry come from the gateway, and are verified; None if it gives none."""
        terms, now = roster.proof_of_cloud, self._caller.clock()
        try:
            blobs = member(await self._transport.json("GET", "/v1/collateral"), "blobs", list)
            collateral = Collateral.of(*(b64url_decode(blob) for blob in blobs))
            snapshot = RegistrySnapshot.parse(await self._transport.send("GET", "/v1/registry")).verify(
                terms.members, terms.threshold, terms.freshness_key, now, terms.max_age_s
            )
        except CodedError:
            return None
        verifier = verifier_for(roster)

        def judge(presentation: Presentation, nonce: bytes) -> PeerStanding:
            return check_presentation(
                presentation,
                roster=judged_by(self._trust.followed.rosters, presentation.identity.roster_digest),
                own_nonce=nonce,
                verifier=verifier,
                collateral=collateral,
                snapshot=snapshot,
                now=now,
            )

        return judge


def _report(document: Document, words: Iterable[NodeWord], relayed: dict[str, bytes], roster: Roster) -> Report:
    digest = Envelope.of(f"application/vnd.holdfast.{document.kind}+json", document.payload()).digest
    acknowledged, unproven, keys = [], {}, {}
    for word in words:
        if _is_proven(word, relayed.get(word.slot), digest, roster):
            acknowledged.append(word.slot)
        else:
            unproven[word.slot] = word.refusal or word.trouble or "verify.acknowledgement"
        # Whoever says that it holds a key is believed: at worst one key too many is waited for.
        keys.update({(key.key, key.version, key.transcript): key for key in word.keys if _affects(document, key)})
    return Report(
        acknowledged=tuple(acknowledged),
        unproven=unproven,
        keys=tuple(_progress(document, keys[name], acknowledged) for name in sorted(keys)),
    )


def _is_proven(word: NodeWord, relayed: bytes | None, digest: bytes, roster: Roster) -> bool:
    if word.standing is None:
        return False
    identity = word.standing.identity
    message = acknowledgement_bytes(roster.cluster_id, word.slot, identity.boot_counter, digest)
    given = [word.acknowledgement.signature] if word.acknowledgement is not None else []
    return any(
        is_signed(identity.identity_key, signature, message)
        for signature in (*given, *([relayed] if relayed is not None else []))
    )


def _progress(document: Document, key: KeyCertificate, acknowledged: Iterable[str]) -> KeyProgress:
    held = tuple(slot for slot in acknowledged if key.node(slot) is not None)
    quorum = key.signing_quorum
    needed = len(key.nodes) - quorum + 1 if document.restricts else quorum
    return KeyProgress(key=key.key, name=key.name, acknowledged=held, needed=needed)


def _affects(document: Document, key: KeyCertificate) -> bool:
    """Whether the document may change what is done with the key; agents may be allowed to use any."""
    if isinstance(document, Freeze) and document.scope is Scope.KEY:
        return key.key == document.target
    if isinstance(document, Freeze) and document.scope is Scope.CHAIN:
        family = str(document.target).partition(":")[0]
        return key.usage is Usage.GENERIC or key.usage == family
    return True
