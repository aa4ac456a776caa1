"""Everything an auditor can establish about a running cluster from outside, in one look.

1 the roster, and which administrators signed it · 2 fresh evidence of every node under a nonce of
this auditor, with every step of its verdict · 3 proof of cloud of every machine · 4 what nodes have
in common, held against the roster's terms · 5 every key this auditor may list, by its certificate.
Nothing here is the gateway's word but what is labelled so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attestation.envelope import Envelope
from attestation.errors import CodedError
from attestation.evidence import Claims
from attestation.proof_of_cloud.policy import Placement, ProofOfCloudPolicy, check_platform
from attestation.verdict import Outcome, Result, Step, Verdict
from attestation.verifier import StatementCheck
from enclave.diversity import NodeFacts, check_diversity, largest
from enclave.presentation import nonce_root, report_data, verifier_for
from enclave.roster import OperatorEntry, Role, Roster
from kms.client.certified import CertifiedKey
from kms.client.client import Client
from kms.client.errors import VerificationError
from kms.client.verification import ClusterView, NodeCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAudit:
    """One slot: the full verdict, and where its machine stands if that was established."""

    check: NodeCheck
    verdict: Verdict
    placement: Placement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAudit:
    """One certified key, and why its nodes do not meet the roster's diversity terms, if they do not."""

    certified: CertifiedKey
    common: CodedError | None
    accepted: tuple[str, ...] = ()
    """Of operator and provider: those of which one holds enough nodes to reveal the key, as the roster accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAudit:
    """What was established, at one time."""

    view: ClusterView
    signed_by: tuple[OperatorEntry, ...]
    """Administrators whose signature is on the roster."""
    nodes: tuple[NodeAudit, ...]
    keys: tuple[KeyAudit, ...] | None
    """None if this auditor has no credentials to list keys with."""
    keys_error: CodedError | None = None
    """Why the list of keys ends early."""

    @property
    def result(self) -> Result:
        """Trusted if every node is and every key meets the terms; unclear if nodes were only out of reach."""
        results = {node.verdict.result for node in self.nodes}
        if Result.UNTRUSTED in results or self.keys_error is not None or any(key.common for key in self.keys or ()):
            return Result.UNTRUSTED
        return Result.INDETERMINATE if Result.INDETERMINATE in results else Result.TRUSTED


async def audit_cluster(client: Client, *, list_keys: bool, checks: Sequence[StatementCheck] = ()) -> ClusterAudit:
    """Look at the cluster once; `list_keys` needs a client with credentials, `checks` are further steps
    for every node, e.g. a release manifest.

    Raises VerificationError if the roster, the collateral or the registry is not to be believed, UnavailableError
    if the gateway does not answer.  What is wrong with a single node or key is in the result.
    """
    view = await client.look()
    keys: list[KeyAudit] | None = None
    error: CodedError | None = None
    if list_keys:
        keys = []
        try:
            async for certified in client.keys.list():
                keys.append(
                    KeyAudit(certified=certified, common=_common(certified, view), accepted=_accepted(certified, view))
                )
        except CodedError as refused:
            error = refused
    return ClusterAudit(
        view=view,
        signed_by=_signers(client, view.roster),
        nodes=tuple(_node(check, view, checks) for check in view.nodes.values()),
        keys=tuple(keys) if keys is not None else None,
        keys_error=error,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _RosterCheck:
    """The checks of a presentation against the roster as one step: they ran before, all of them or up to the first."""

    error: CodedError | None
    name: str = "nonce, identity, code, configuration and machine are the roster's; proof of cloud"

    def check(self, claims: Claims, now: int) -> None:
        """Raise what the presentation was refused with."""
        del claims, now
        if self.error is not None:
            raise self.error


def _node(check: NodeCheck, view: ClusterView, checks: Sequence[StatementCheck]) -> NodeAudit:
    if check.presentation is None:
        assert check.error is not None, "a node without a presentation has an error"
        return NodeAudit(check=check, verdict=_absent(check.error, view.checked_at), placement=None)
    identity, roster = check.presentation.identity, view.roster
    try:
        expected = report_data(identity, nonce_root(check.presentation.nonces))
    except CodedError as error:
        return NodeAudit(check=check, verdict=_absent(error, view.checked_at), placement=None)
    verdict = verifier_for(roster).examine(
        check.presentation.evidence,
        collateral=view.collateral,
        now=view.checked_at,
        policy=roster.appraisal_policy,
        expected_report_data=expected,
        statements=[_RosterCheck(error=check.error), *checks],
    )
    return NodeAudit(check=check, verdict=verdict, placement=_placement(check, view))


def _absent(error: CodedError, now: int) -> Verdict:
    """The verdict on a node whose evidence could not be had."""
    away = bool(getattr(error, "unavailable", False))
    step = Step(step="1", name="evidence is given", result=Outcome.FAIL, reason=error.detail, code=error.code)
    return Verdict(
        result=Result.INDETERMINATE if away else Result.UNTRUSTED,
        steps=(step,),
        reasons=(error.code,),
        verified_at=now,
    )


def _placement(check: NodeCheck, view: ClusterView) -> Placement | None:
    """Where the machine of a verified node stands, and whether only its own operators say so."""
    if check.standing is None:
        return None
    terms = view.roster.proof_of_cloud
    try:
        return check_platform(
            view.snapshot,
            check.standing.platform_id,
            policy=ProofOfCloudPolicy(level_min=terms.level, max_age_s=terms.max_age_s),
            now=view.checked_at,
            operators=[entry.key for entry in view.roster.operators],
            members=terms.members,
        )
    except CodedError:
        return None  # the check of the presentation found the same, with the roster's own terms


def _common(certified: CertifiedKey, view: ClusterView) -> CodedError | None:
    certificate = certified.certificate
    mine: list[NodeFacts] = [facts for facts in view.facts if facts.slot in certificate.slots]
    try:
        check_diversity(mine, view.roster.diversity, certificate.shares_needed)
    except CodedError as error:
        return error
    return None


def _accepted(certified: CertifiedKey, view: ClusterView) -> tuple[str, ...]:
    certificate = certified.certificate
    mine = [facts for facts in view.facts if facts.slot in certificate.slots]
    return tuple(
        str(dimension)
        for dimension in sorted(view.roster.diversity.accept_common)
        if largest(mine, dimension)[1] >= certificate.shares_needed
    )


def _signers(client: Client, roster: Roster) -> tuple[OperatorEntry, ...]:
    followed = client.trust.followed
    offered = followed.envelopes[-1]
    if followed.rosters[-1].digest != roster.digest:
        raise VerificationError(
            "the roster changed while the cluster was looked at", code="verify.roster", hint="look again"
        )
    administrators = roster.holders(Role.ADMIN)
    valid = Envelope.parse(offered).signers(entry.key for entry in administrators)
    return tuple(entry for entry in administrators if entry.key in valid)
