"""Hand a roster to a cluster: through the gateway and straight to every node, done when nodes have proven it.

Rules kept (specs/roster.md section 6): only acknowledgements signed under attested identities count; a version is
held where n - s + 1 nodes of every affected key and more than half of the nodes have acknowledged it; what is not
proven is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from attestation.canonical import canonical_json
from attestation.collateral import Collateral
from attestation.envelope import Envelope, b64url_decode
from attestation.errors import CodedError
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from enclave.presentation import PeerStanding, check_presentation, verifier_for
from enclave.roster import Roster
from enclave.roster_chain import Link, judged_by, read_chain
from enclave.wire.attestation import Presentation
from enclave.wire.rosters import Activation
from kms.client.caller import Caller
from kms.client.direct import Judge
from kms.client.direct_rosters import RosterWord, bring, show
from kms.client.errors import UnavailableError
from kms.client.restrictions import KeyProgress
from kms.client.transport import Transport
from kms.client.trust import TrustAnchors
from kms.client.verification import fetch_rosters, held_rosters, member


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProgress:
    """How far one node is."""

    slot: str
    acknowledged: bool
    version: int | None
    """In force there, as it says; None if it was not heard."""
    not_before: int | None
    """Unix seconds before which newly admitted code may not run there."""
    trouble: str
    """Code of why it did not take the version, or is not proven to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterReport:
    """How far a version came."""

    version: int
    nodes: tuple[NodeProgress, ...]
    keys: tuple[KeyProgress, ...]
    relayed: str
    """Empty if the gateway took it, else the code why not."""

    @property
    def acknowledged(self) -> tuple[str, ...]:
        """Slots that have proven that they hold it."""
        return tuple(node.slot for node in self.nodes if node.acknowledged)

    @property
    def held(self) -> bool:
        """Whether its restrictions hold for every set of signers."""
        most = len(self.nodes) // 2 + 1
        return len(self.acknowledged) >= most and all(key.done for key in self.keys)

    @property
    def in_force(self) -> tuple[str, ...]:
        """Slots that say they work by it."""
        return tuple(node.slot for node in self.nodes if node.version is not None and node.version >= self.version)

    @property
    def not_before(self) -> int | None:
        """Unix seconds when the last node may put it in force; None where nothing waits for a time."""
        return max((node.not_before for node in self.nodes if node.not_before is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "version": self.version,
            "held": self.held,
            "acknowledged": list(self.acknowledged),
            "in_force": list(self.in_force),
            "not_before": self.not_before,
            "relayed": self.relayed or "ok",
            "nodes": [
                {
                    "slot": node.slot,
                    "acknowledged": node.acknowledged,
                    "version": node.version,
                    "not_before": node.not_before,
                    "trouble": node.trouble,
                }
                for node in self.nodes
            ],
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


class RosterUpdates:
    """`client.rosters`."""

    def __init__(self, caller: Caller, transport: Transport, trust: TrustAnchors) -> None:
        self._caller = caller
        self._transport = transport
        self._trust = trust

    async def chain(self) -> tuple[Roster, ...]:
        """Every verified version, oldest first; what is held where no gateway answers."""
        try:
            return await fetch_rosters(self._transport, self._trust)
        except UnavailableError:
            return held_rosters(self._trust)

    async def standing(self) -> list[dict[str, Any]]:
        """Which version is in force and held at which node, as the gateway tells it; empty if it does not answer."""
        try:
            return list(member(await self._transport.json("GET", "/v1/roster/standing"), "nodes", list))
        except CodedError:
            return []

    async def apply(self, envelope: bytes | None = None) -> RosterReport:
        """Bring the newest version, or the signed one given, to every node, and put it in force where it may be.

        Raises DocumentError if it does not continue the newest version verified here.
        """
        rosters = await self.chain()
        links = self._links(rosters)
        if envelope is not None:
            links += read_chain(envelope, known=rosters[-1])
        newest = links[-1].roster
        relayed = await self._relay(links[-1].envelope) if newest.version > 1 else ""
        judge = await self._judge([link.roster for link in links])
        words: Sequence[RosterWord] = await asyncio.gather(
            *(bring(entry, links, judge=judge) for entry in newest.slots)
        )
        if newest.version > 1 and any(word.status and word.status.version < newest.version for word in words):
            words = await self._activated(links, words, judge)
        return _report(newest, words, relayed)

    def _links(self, rosters: Sequence[Roster]) -> list[Link]:
        envelopes = self._trust.followed.envelopes
        return [Link(roster=roster, envelope=envelope) for roster, envelope in zip(rosters, envelopes, strict=True)]

    async def _relay(self, envelope: bytes) -> str:
        body = canonical_json({"document": Envelope.parse(envelope).to_json()})
        try:
            await self._caller.call("POST", "/v1/roster", act="documents.put", resource="*", body=body)
        except CodedError as error:
            return error.code
        return ""

    async def _activated(
        self, links: list[Link], words: Sequence[RosterWord], judge: Judge | None
    ) -> Sequence[RosterWord]:
        """Show the nodes each other's acknowledgements, then hear them again."""
        newest = links[-1].roster
        activation = Activation(
            version=newest.version,
            digest=newest.digest,
            acknowledgements=[word.acknowledgement for word in words if word.acknowledgement is not None],
        )
        refusals = await asyncio.gather(*(show(entry, activation) for entry in newest.slots))
        again = await asyncio.gather(*(bring(entry, links, judge=judge) for entry in newest.slots))
        waits = dict(zip((entry.slot for entry in newest.slots), refusals, strict=True))
        return [_with_trouble(word, waits[word.slot]) for word in again]

    async def _judge(self, rosters: Sequence[Roster]) -> Judge | None:
        """Collateral and registry come from the gateway, and are verified; None if it gives none."""
        terms, now = rosters[-1].proof_of_cloud, self._caller.clock()
        try:
            blobs = member(await self._transport.json("GET", "/v1/collateral"), "blobs", list)
            collateral = Collateral.of(*(b64url_decode(blob) for blob in blobs))
            snapshot = RegistrySnapshot.parse(await self._transport.send("GET", "/v1/registry")).verify(
                terms.members, terms.threshold, terms.freshness_key, now, terms.max_age_s
            )
        except CodedError:
            return None
        verifier = verifier_for(rosters[-1])

        def judge(presentation: Presentation, nonce: bytes) -> PeerStanding:
            return check_presentation(
                presentation,
                roster=judged_by(rosters, presentation.identity.roster_digest),
                own_nonce=nonce,
                verifier=verifier,
                collateral=collateral,
                snapshot=snapshot,
                now=now,
            )

        return judge


def _with_trouble(word: RosterWord, refusal: str) -> RosterWord:
    return replace(word, trouble=word.trouble or refusal)


def _report(roster: Roster, words: Sequence[RosterWord], relayed: str) -> RosterReport:
    acknowledged = {word.slot for word in words if word.acknowledgement is not None or _works_by(word, roster)}
    keys = {(key.key, key.version, key.transcript): key for word in words for key in word.keys}
    return RosterReport(
        version=roster.version,
        nodes=tuple(
            NodeProgress(
                slot=word.slot,
                acknowledged=word.slot in acknowledged,
                version=word.status.version if word.status is not None else None,
                not_before=max((item.not_before for item in word.status.pending), default=None)
                if word.status is not None
                else None,
                trouble=word.trouble,
            )
            for word in words
        ),
        keys=tuple(
            KeyProgress(
                key=keys[name].key,
                name=keys[name].name,
                acknowledged=tuple(slot for slot in sorted(acknowledged) if keys[name].node(slot) is not None),
                needed=len(keys[name].nodes) - keys[name].signing_quorum + 1,
            )
            for name in sorted(keys)
        ),
        relayed=relayed,
    )


def _works_by(word: RosterWord, roster: Roster) -> bool:
    """Whether its evidence itself names the version as in force."""
    return word.standing is not None and word.standing.identity.roster_digest == roster.digest
