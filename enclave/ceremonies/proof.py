"""Proof that a participant broke a ceremony, for anyone to verify with nothing but attested identity keys.

Rules kept (specs/ceremonies.md section 8): a proof is the facts of the session and the complete signed messages up to
the fault; verifying runs the public checks every participant ran; a fault only the receiver of a share saw counts with
the opened ceremony key of that receiver, which is only ever shown where it opens nothing of a living key.
"""

from __future__ import annotations

from collections.abc import Mapping

from enclave.ceremonies.facts import Facts, Kind, Member
from enclave.wire.ceremonies import CeremonyMessage
from enclave.wire.message import Message


class Proof(Message, frozen=True):
    """The facts and the messages of one failed session."""

    kind: Kind
    session: bytes
    cluster: bytes
    roster_digest: bytes
    order: bytes
    members: list[Member]
    terms: bytes
    sources: list[bytes]
    rounds: dict[int, list[CeremonyMessage]]
    accuser: str
    complaint: bytes
    culprit: str
    code: str

    @classmethod
    def of(
        cls,
        facts: Facts,
        rounds: Mapping[int, list[CeremonyMessage]],
        *,
        accuser: str,
        complaint: bytes,
        culprit: str,
        code: str,
    ) -> Proof:
        """What a participant saw."""
        return cls(
            kind=facts.kind,
            session=facts.session,
            cluster=facts.cluster,
            roster_digest=facts.roster_digest,
            order=facts.order,
            members=list(facts.members),
            terms=facts.terms,
            sources=list(facts.sources),
            rounds=dict(rounds),
            accuser=accuser,
            complaint=complaint,
            culprit=culprit,
            code=code,
        )

    @property
    def facts(self) -> Facts:
        """The facts of the session."""
        return Facts(
            kind=self.kind,
            session=self.session,
            cluster=self.cluster,
            roster_digest=self.roster_digest,
            order=self.order,
            members=tuple(self.members),
            terms=self.terms,
            sources=tuple(self.sources),
        )
