"""Key generation and rotation as steps of the engine: the arithmetic is enclave.threshold.dkg (specs/dkg.md)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from enclave.ceremonies.facts import Facts
from enclave.ceremonies.steps import Agreed, Effect, Outcome, Result, Work
from enclave.certificate import GROUP_KEY_SPECS, KeyCertificate, NodeShare
from enclave.errors import CallerError
from enclave.group import GROUPS
from enclave.key_order import KeyOrder
from enclave.key_specs import SPECS, Custody, Usage
from enclave.threshold.dkg import KeyShare, Participant
from enclave.threshold.hpke import public_key_x25519
from enclave.wire.message import tagged


class GenerationTerms(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What an auditor needs to check a key generation."""

    group: str
    threshold: int
    participants: dict[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    """What the new key version is to be."""

    key: str
    version: int
    name: str
    spec: str
    usage: Usage
    custody: Custody
    shares_needed: int
    participants: Mapping[int, str]
    """Share index -> slot."""
    assemblers: tuple[str, ...]
    policy: str
    exportable: bool

    @property
    def terms(self) -> GenerationTerms:
        """The part that the rounds depend on."""
        return GenerationTerms(SPECS[self.spec].group, self.shares_needed, dict(self.participants))

    @classmethod
    def of_order(cls, order: KeyOrder, key: str) -> KeyPlan:
        """A new key."""
        return cls(
            key=key,
            version=1,
            name=order.name,
            spec=order.spec,
            usage=order.usage,
            custody=order.custody,
            shares_needed=order.shares_needed,
            participants=order.participants,
            assemblers=order.assemblers,
            policy=order.policy,
            exportable=order.exportable,
        )

    @classmethod
    def after(cls, source: KeyCertificate) -> KeyPlan:
        """The next version of a key, for the same nodes."""
        return cls(
            key=source.key,
            version=source.version + 1,
            name=source.name,
            spec=source.spec,
            usage=source.usage,
            custody=source.custody,
            shares_needed=source.shares_needed,
            participants={node.index: node.slot for node in source.nodes},
            assemblers=source.assemblers,
            policy=source.policy,
            exportable=source.exportable,
        )


class Generation:
    """One participant's part in generating one key version."""

    prepare_round = 3

    def __init__(self, facts: Facts, plan: KeyPlan, slot: str) -> None:
        self._facts, self._plan = facts, plan
        self._index = {member: index for index, member in plan.participants.items()}
        self._participant = Participant(
            GROUPS[SPECS[plan.spec].group],
            session=facts.session,
            index=self._index[slot],
            slots=plan.participants,
            threshold=plan.shares_needed,
            context=facts.context,
        )

    def first(self) -> Work[bytes]:
        """See Steps."""
        yield
        return self._participant.round1()

    def following(self, _number: int, payloads: Mapping[str, bytes]) -> Work[bytes]:
        """See Steps."""
        yield
        return self._participant.round2(self._indexed(payloads))

    def finish(self, payloads: Mapping[str, bytes], agreed: Agreed) -> Work[Outcome]:
        """See Steps."""
        yield
        inner, share = self._participant.round3(self._indexed(payloads))
        transcript = agreed.transcript(inner)
        certificate = self._certificate(transcript, share, agreed.time)
        result = Result(
            certificate=certificate,
            body=certificate.body(),
            source_epoch=0,
            effect=Effect.HOLD,
            share=share.secret,
            commitments=share.commitments,
        )
        return Outcome(transcript=transcript, results=(result,), extras={})

    def complaint(self) -> bytes:
        """See Steps."""
        try:
            return self._participant.complaint()
        except CallerError:
            return b""

    def wipe(self) -> None:
        """See Steps."""
        self._participant.wipe()

    def _indexed(self, payloads: Mapping[str, bytes]) -> dict[int, bytes]:
        return {self._index[slot]: payload for slot, payload in payloads.items()}

    def _certificate(self, transcript: bytes, share: KeyShare, activated_at: int) -> KeyCertificate:
        plan = self._plan
        public_key = share.public_key
        if plan.spec in GROUP_KEY_SPECS:
            # X25519's form of it; a P-256 key's is not known before an assembler has derived it.
            public_key = public_key_x25519(share.public_key) if plan.spec == "hpke-x25519" else b""
        return KeyCertificate(
            cluster=self._facts.cluster,
            key=plan.key,
            name=plan.name,
            version=plan.version,
            spec=plan.spec,
            usage=plan.usage,
            custody=plan.custody,
            shares_needed=plan.shares_needed,
            nodes=tuple(
                NodeShare(slot=slot, index=index, public_share=share.public_shares[index])
                for index, slot in plan.participants.items()
            ),
            assemblers=plan.assemblers,
            public_key=public_key,
            chain_code=hashlib.sha256(tagged("chain-code", transcript, share.public_key)).digest(),
            policy=plan.policy,
            epoch=1,
            transcript=transcript,
            activated_at=activated_at,
            group_key=share.public_key if plan.spec in GROUP_KEY_SPECS else None,
            exportable=plan.exportable,
        )


def key_id_of(request_id: bytes) -> str:
    """The id of the key that one order makes, so that whoever relays cannot make two keys of it."""
    digest = hashlib.sha256(tagged("key-id", request_id)).digest()[:16]
    return "key_" + base64.b32encode(digest).decode("ascii").rstrip("=").lower()


def order_digest(key: str, request_id: bytes, body: bytes) -> bytes:
    """Names a key order in the facts: the id of its key, the request that ordered it, the exact order."""
    return hashlib.sha256(tagged("key-order", key.encode(), request_id, hashlib.sha256(body).digest())).digest()
