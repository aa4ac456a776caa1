"""Verify a cluster from here: roster, collateral, registry snapshot, and fresh evidence of every node.

Steps (specs/client-verification.md):
 1. rosters     the first one's digest is the pinned cluster id; each later one is the successor both quorums signed
 2. environment simulated roots count only if the client pinned the very same ones
 3. collateral  read as offered; the verifier checks its signatures and dates
 4. registry    the members' quorum signed it, it is fresh, and it is not older than one seen before
 5. nodes       each answers this client's own nonce; enclave.presentation checks the rest
One node that fails does not fail the cluster: it has no identity here, so its signatures do not count.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from attestation.collateral import Collateral
from attestation.envelope import b64url, b64url_decode
from attestation.errors import CodedError, DocumentError
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from enclave.diversity import NodeFacts
from enclave.presentation import PeerStanding, check_presentation, verifier_for
from enclave.roster import Roster
from enclave.roster_chain import judged_by
from enclave.wire.attestation import Presentation
from enclave.wire.message import decode_as
from kms.client.errors import UnavailableError, VerificationError
from kms.client.transport import Transport
from kms.client.trust import TrustAnchors

NONCE_BYTES = 32

EVIDENCE_ATTEMPTS = 4
"""How often one node's evidence is asked for when the gateway says that too many ask."""

TOO_MANY = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCheck:
    """What this client found out about one slot: a standing, or the error that says why not."""

    slot: str
    standing: PeerStanding | None
    error: CodedError | None
    presentation: Presentation | None = None
    """What the node answered, if it did: for auditors, who show more than the standing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """A verified picture of the cluster at one moment."""

    roster: Roster
    nodes: Mapping[str, NodeCheck]
    snapshot: RegistrySnapshot
    checked_at: int
    """Unix seconds."""
    collateral: Collateral = field(default_factory=Collateral)
    """What the evidence was judged with."""
    rosters: tuple[Roster, ...] = ()
    """Every roster version verified, oldest first; `roster` is the last."""

    def version_at(self, slot: str) -> int | None:
        """The roster version in force at a verified node, by its evidence; None for any other."""
        standing = self.nodes[slot].standing
        if standing is None:
            return None
        named = standing.identity.roster_digest
        return next((roster.version for roster in self.rosters if roster.digest == named), None)

    @property
    def identities(self) -> dict[str, bytes]:
        """Slot -> identity key (Ed25519, 32 bytes) of every node whose evidence was verified."""
        return {slot: check.standing.identity.identity_key for slot, check in self.nodes.items() if check.standing}

    @property
    def facts(self) -> tuple[NodeFacts, ...]:
        """What was established of every verified node, to tell what they have in common."""
        return tuple(check.standing.facts for check in self.nodes.values() if check.standing)

    @property
    def valid_until(self) -> int:
        """Earliest expiry (Unix seconds) of what the verdicts rest on; `checked_at` if there are none."""
        return min(
            (check.standing.valid_until for check in self.nodes.values() if check.standing), default=self.checked_at
        )


async def verify_cluster(
    transport: Transport, trust: TrustAnchors, *, now: int, seen: RegistrySnapshot | None = None
) -> ClusterView:
    """Run the five steps; raises VerificationError for steps 1 to 4, UnavailableError if nobody answers."""
    rosters = await fetch_rosters(transport, trust)
    roster = rosters[-1]
    collateral = await _fetch_collateral(transport)
    snapshot = await _fetch_snapshot(transport, roster, now=now, seen=seen)
    verifier = verifier_for(roster)

    async def check(slot: str) -> NodeCheck:
        nonce = os.urandom(NONCE_BYTES)
        presentation: Presentation | None = None
        try:
            presentation = await _fetch_presentation(transport, slot, nonce)
            standing = check_presentation(
                presentation,
                roster=judged_by(rosters, presentation.identity.roster_digest),
                own_nonce=nonce,
                verifier=verifier,
                collateral=collateral,
                snapshot=snapshot,
                now=now,
            )
            if standing.slot != slot:
                raise VerificationError(f"evidence asked of {slot} is of {standing.slot}", code="verify.slot")
        except CodedError as error:
            return NodeCheck(slot=slot, standing=None, error=error, presentation=presentation)
        return NodeCheck(slot=slot, standing=standing, error=None, presentation=presentation)

    checks = await asyncio.gather(*(check(slot.slot) for slot in roster.slots))
    return ClusterView(
        roster=roster,
        rosters=rosters,
        nodes={item.slot: item for item in checks},
        snapshot=snapshot,
        checked_at=now,
        collateral=collateral,
    )


async def fetch_rosters(transport: Transport, trust: TrustAnchors) -> tuple[Roster, ...]:
    """Steps 1 and 2: every verified version, oldest first.

    Raises VerificationError (`verify.roster`, `verify.cluster`, `verify.simulated-root`), ConfigurationError.
    """
    trust.followed.begin(trust.cluster_id, trust.roster)
    await trust.followed.follow(transport, trust.cluster_id)
    return check_roots(trust.followed.rosters, trust)


async def fetch_roster(transport: Transport, trust: TrustAnchors) -> Roster:
    """The newest of `fetch_rosters`."""
    return (await fetch_rosters(transport, trust))[-1]


def held_rosters(trust: TrustAnchors) -> tuple[Roster, ...]:
    """What is known without a gateway; raises ConfigurationError, and UnavailableError if that is nothing."""
    trust.followed.begin(trust.cluster_id, trust.roster)
    if not trust.followed.rosters:
        raise UnavailableError("no gateway answers and no roster is held", code="unavailable.connection")
    return check_roots(trust.followed.rosters, trust)


def check_roots(rosters: tuple[Roster, ...], trust: TrustAnchors) -> tuple[Roster, ...]:
    """Step 2; raises VerificationError (`verify.simulated-root`)."""
    if rosters[-1].simulated_roots != trust.simulated_roots:
        raise VerificationError(
            "the roster's simulated roots are not those this client pinned",
            code="verify.simulated-root",
            hint="development clusters are trusted through their own cluster file only",
        )
    return rosters


async def _fetch_collateral(transport: Transport) -> Collateral:
    answer = await transport.json("GET", "/v1/collateral")
    try:
        return Collateral.of(*(b64url_decode(blob) for blob in member(answer, "blobs", list)))
    except CodedError as error:
        raise VerificationError(f"collateral: {error.detail}", code="verify.collateral") from None


async def _fetch_snapshot(
    transport: Transport, roster: Roster, *, now: int, seen: RegistrySnapshot | None
) -> RegistrySnapshot:
    content = await transport.send("GET", "/v1/registry")
    terms = roster.proof_of_cloud
    try:
        return RegistrySnapshot.parse(content).verify(
            terms.members, terms.threshold, terms.freshness_key, now, terms.max_age_s, previous=seen
        )
    except CodedError as error:
        raise VerificationError(f"registry: {error.detail}", code="verify.registry", hint=error.hint) from None


async def _fetch_presentation(transport: Transport, slot: str, nonce: bytes) -> Presentation:
    path = f"/v1/nodes/{quote(slot, safe='')}/evidence"
    for attempts_left in reversed(range(EVIDENCE_ATTEMPTS)):
        try:
            answer = await transport.json("GET", path, query={"nonce": b64url(nonce)})
            return decode_as(Presentation, b64url_decode(member(answer, "presentation", str)))
        except DocumentError as error:
            raise VerificationError(f"evidence: {error.detail}", code="verify.malformed") from None
        except UnavailableError as error:
            # Quotes are work, so gateways ration them; many clients may start at the same moment.
            if error.status != TOO_MANY or not attempts_left:
                raise
            await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, decides nothing
    raise AssertionError("the last attempt returns or raises")


def member(value: Any, name: str, kind: type) -> Any:
    """A typed member of a JSON answer; raises VerificationError (`verify.malformed`)."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, kind):
        raise VerificationError(f"the answer lacks {name}", code="verify.malformed")
    return found
