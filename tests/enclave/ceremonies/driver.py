"""A relay that drives ceremonies over nodes without sockets, step by step, so that tests can break in anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from enclave.ceremonies.facts import Kind
from enclave.ceremonies.orders import CeremonyOrder, KeyRef
from enclave.certificate import KeyCertificate
from enclave.ids import new_id
from enclave.signing_key import SigningKey
from enclave.wire.ceremonies import (
    CeremonyDiscard,
    CeremonyMessage,
    CeremonyQuery,
    CeremonyRound,
    CeremonyStanding,
    CeremonyStart,
    KeySource,
)
from enclave.wire.documents import CertificateRequest
from tests.enclave.node.world import World

ROUNDS = {"dkg": 3, "refresh": 3, "reshare": 3, "rotate": 3, "repair": 4}
"""Kind -> round of the prepare."""


class CeremonyWorld(World):
    """A world whose relay can run every ceremony."""

    # --- orders ------------------------------------------------------------------------------------

    def ordered(self, action: str, *keys: KeyCertificate, signers: Sequence[SigningKey] = (), **changes: Any) -> bytes:
        """A signed order about these keys."""
        fields: dict[str, Any] = {
            "cluster": self.roster.cluster_id,
            "order": new_id("op"),
            "action": Kind(action),
            "keys": tuple(KeyRef(key=key.key, version=key.version, epoch=key.epoch) for key in keys),
            "issued_at": self.now,
            "expires_at": self.now + 3600,
        }
        return CeremonyOrder(**(fields | changes)).sign(*(signers or (self.operator,)))

    def beginning(
        self,
        action: str,
        *keys: KeyCertificate,
        participants: Sequence[str] = (),
        body: bytes | None = None,
        **terms: Any,
    ) -> CeremonyStart:
        """Round 1 of a ceremony as an honest gateway would send it."""
        return CeremonyStart(
            session=os.urandom(32),
            kind=action,
            token="",
            body=self.ordered(action, *keys, **terms) if body is None else body,
            key="",
            participants=list(participants or keys[0].slots),
            sources=[KeySource(key.key, key.version, key.epoch, key.body()) for key in keys],
        )

    # --- rounds ------------------------------------------------------------------------------------

    def begin(self, start: CeremonyStart) -> list[CeremonyMessage]:
        """Everyone's first message."""
        return [self.call(slot, "ceremony-start", start) for slot in start.participants]

    def round(self, start: CeremonyStart, number: int, messages: list[CeremonyMessage]) -> list[CeremonyMessage]:
        """One later round for everybody."""
        following = CeremonyRound(session=start.session, round=number, messages=messages)
        return [self.call(slot, "ceremony-round", following) for slot in start.participants]

    def prepared(self, start: CeremonyStart) -> list[CeremonyMessage]:
        """All rounds; returns the prepares."""
        messages = self.begin(start)
        for number in range(2, ROUNDS[start.kind] + 1):
            messages = self.round(start, number, messages)
        return messages

    def certificate_of(self, start: CeremonyStart, prepares: list[CeremonyMessage]) -> CeremonyRound:
        """The commit certificate."""
        return CeremonyRound(session=start.session, round=ROUNDS[start.kind] + 1, messages=prepares)

    def run(self, start: CeremonyStart) -> list[KeyCertificate]:
        """The whole ceremony; returns the keys as their holders certify them."""
        commit = self.certificate_of(start, self.prepared(start))
        for slot in start.participants:
            self.call(slot, "ceremony-commit", commit)
        self.now += 1
        return [self.current(source.key) for source in start.sources]

    def current(self, key: str) -> KeyCertificate:
        """The newest certificate of a key, signed by all that hold its newest version and epoch."""
        held = {}
        for slot, node in self.nodes.items():
            if node.keys.knows(key):
                found = node.keys.newest(key).certificate
                held[slot] = (found.version, found.epoch)
        newest = max(held.values())
        signatures = [
            self.call(slot, "certificate", CertificateRequest(key=key)) for slot, at in held.items() if at == newest
        ]
        return self.verified(signatures)

    # --- certificates ------------------------------------------------------------------------------

    def standing(self, slot: str, session: bytes) -> CeremonyStanding:
        """How far a session got at a node."""
        found: CeremonyStanding = self.call(slot, "ceremony-standing", CeremonyQuery(session=session))
        return found

    def resolve(self, session: bytes, participants: Sequence[str]) -> str:
        """What any relay does with a session it knows nothing of: commit if all prepared, else abort."""
        prepares, aborted, committed = [], None, None
        for slot in participants:
            found = self.standing(slot, session)
            if found.state == "prepared":
                prepares.append(found.certificate[0])
            elif found.state == "committed":
                committed = found.certificate
            else:
                aborted = self.call(slot, "ceremony-abort", CeremonyQuery(session=session))
        messages = committed or (prepares if len(prepares) == len(participants) else None)
        for slot in participants:
            if messages is not None:
                number = messages[0].round + 1
                self.call(slot, "ceremony-commit", CeremonyRound(session=session, round=number, messages=messages))
            elif aborted is not None:
                self.call(slot, "ceremony-discard", CeremonyDiscard(session=session, message=aborted))
        return "committed" if messages is not None else "aborted"

    def crash(self, *slots: str) -> None:
        """Lose everything in memory and start again from the disk; the next boot is attested."""
        for slot in slots:
            self.stop(slot)
            self.start(slot)
        self.now += 1
        self.attest()
        self.now += 1

    def expect(self, call: Callable[[], Any]) -> Any:
        """The result of a call after which time has moved on by a second."""
        result = call()
        self.now += 1
        return result
