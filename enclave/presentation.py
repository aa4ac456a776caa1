"""Is this peer what the roster says?  One check from fresh evidence to a standing (specs/evidence-binding.md).

Used alike by nodes, clients and auditors, in this order:

1. the identity names this cluster, a slot of this roster and this very roster, or one its reader counts as well;
2. the verifier's own nonce is among those answered;
3. the evidence verifies under the roster's roots (cryptography and format);
4. its report data is the hash of identity and nonces;
5. the appraisal policy accepts it, and each register named for the slot holds an allowed value;
6. the measured configuration names this cluster;
7. the machine is the one the roster commits to for the slot, and for no other slot;
8. proof of cloud: the registry lists it, unrevoked, in a verified and current snapshot.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn

from attestation.collateral import Collateral
from attestation.errors import EvidenceError, StatementError
from attestation.evidence import Claims, Tee
from attestation.proof_of_cloud.platform_id import PlatformId
from attestation.proof_of_cloud.policy import Placement, ProofOfCloudPolicy, check_platform
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.verdict import Outcome
from attestation.verifier import Verifier
from enclave.diversity import VENDORS, NodeFacts
from enclave.evidence_binding import nonce_root, report_data
from enclave.roster import Roster, SlotEntry
from enclave.wire.attestation import Identity, Presentation

__all__ = ["PeerStanding", "check_presentation", "nonce_root", "report_data", "verifier_for"]

EVIDENCE_AGE_S_MAX = 24 * 3600
"""Evidence is renewed at least daily, however long its collateral lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStanding:
    """A peer that passed every check, and until when (Unix seconds)."""

    slot: str
    identity: Identity
    claims: Claims
    platform_id: PlatformId
    valid_until: int
    facts: NodeFacts
    """What the node has in common with others, for the roster's diversity terms."""


def verifier_for(roster: Roster) -> Verifier:
    """The verifier with the roots this roster admits: the simulated ones if it names any, else the vendors'."""
    if roster.simulated_roots:
        return Verifier.with_root(*roster.simulated_roots)
    return Verifier.production()


def check_presentation(
    presentation: Presentation,
    *,
    roster: Roster,
    own_nonce: bytes,
    verifier: Verifier,
    collateral: Collateral,
    snapshot: RegistrySnapshot,
    now: int,
    also: Collection[bytes] = (),
) -> PeerStanding:
    """Decide on one presentation at time `now` (Unix seconds), by the rules of `roster`.

    `also` are digests of further rosters of this cluster that the evidence may name: on the way from one version to
    the next nodes change one after the other.

    Raises EvidenceError (`presentation.*`), any error of the verifier, or StatementError.
    """
    identity = presentation.identity
    slot = _check_identity(identity, roster, also)
    if own_nonce not in presentation.nonces:
        _refuse("nonce", "evidence does not answer this verifier's nonce")
    claims = verifier.verify(presentation.evidence, collateral=collateral, now=now)
    if claims.report_data != report_data(identity, nonce_root(presentation.nonces)):
        _refuse("report-data", "evidence was made for another identity or other nonces")
    _check_appraisal(claims, slot, roster, now)
    _check_configuration(claims, roster)
    platform = claims.platform_id
    if platform is None:
        raise StatementError("evidence names no machine", code="proof-of-cloud.absent")
    if platform.commitment != slot.platform:
        _refuse("platform", f"expected the machine the roster commits to for {slot.slot}, found another")
    if any(entry.platform == slot.platform for entry in roster.slots if entry is not slot):
        raise StatementError(f"the machine of {slot.slot} stands in two slots", code="proof-of-cloud.duplicate")
    placement = _check_registry(snapshot, platform, slot, roster, now)
    return PeerStanding(
        slot=slot.slot,
        identity=identity,
        claims=claims,
        platform_id=platform,
        valid_until=min(claims.valid_until, placement.valid_until, now + EVIDENCE_AGE_S_MAX),
        facts=NodeFacts(
            slot=slot.slot,
            platform=str(platform),
            operator=slot.operator,
            provider=placement.provider,
            region=placement.region,
            vendor=VENDORS[claims.tee],
        ),
    )


def _check_identity(identity: Identity, roster: Roster, also: Collection[bytes]) -> SlotEntry:
    if identity.cluster != roster.cluster_id:
        _refuse("cluster", "peer belongs to another cluster")
    slot = next((entry for entry in roster.slots if entry.slot == identity.slot), None)
    if slot is None:
        _refuse("slot", "peer names a slot the roster does not have")
    if identity.roster_digest != roster.digest and identity.roster_digest not in also:
        _refuse("roster", "peer runs under another roster", hint="bring both nodes to the same roster version")
    return slot


def _check_appraisal(claims: Claims, slot: SlotEntry, roster: Roster, now: int) -> None:
    for step in roster.appraisal_policy.appraise(claims, now):
        if step.result is Outcome.FAIL:
            raise EvidenceError(step.reason or f"appraisal step {step.step} failed", code=step.code)
    for register, allowed in slot.measurements.items():
        found = claims.measurements.get(register)
        if found not in allowed:
            _refuse("measurement", f"register {register} of {slot.slot} holds {found}, which the roster does not allow")


def _check_configuration(claims: Claims, roster: Roster) -> None:
    expected = {
        Tee.TDX: ("mrconfigid", roster.configuration),
        Tee.SEV_SNP: ("host_data", roster.cluster_id),
    }.get(claims.tee)
    if expected is None:
        _refuse("configuration", f"no measured configuration is defined for {claims.tee} nodes")
    register, value = expected
    if claims.measurements.get(register) != value.hex():
        _refuse("configuration", f"register {register} does not hold this cluster's id")


def _check_registry(
    snapshot: RegistrySnapshot, platform: PlatformId, slot: SlotEntry, roster: Roster, now: int
) -> Placement:
    """Where the registry says the machine stands, and until when it vouches for that."""
    terms = roster.proof_of_cloud
    if not snapshot.verified:
        # A node verifies each snapshot once, when it arrives; age is checked again below each time.
        snapshot.verify(terms.members, terms.threshold, terms.freshness_key, now, terms.max_age_s)
    domain = slot.failure_domain
    policy = ProofOfCloudPolicy(
        level_min=terms.level,
        max_age_s=terms.max_age_s,
        providers=frozenset({domain["provider"]} if "provider" in domain else ()),
        regions=frozenset({domain["region"]} if "region" in domain else ()),
    )
    return check_platform(snapshot, platform, policy=policy, now=now)


def _refuse(code: str, detail: str, *, hint: str | None = None) -> NoReturn:
    raise EvidenceError(detail, code=f"presentation.{code}", hint=hint)
