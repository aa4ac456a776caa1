"""Is this receipt true?  Every step of specs/receipts.md section 7 in order, as of the time of the decision.

Rules: no socket, no clock; hostile bytes never raise; the first step that fails ends the verification, later ones are
`skipped`; without the cluster's id nothing is trusted, however well it fits together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from attestation.collateral import Collateral
from attestation.envelope import b64url
from attestation.errors import CodedError, CollateralMissingError, ReceiptError
from attestation.evidence import Claims
from attestation.instant import format_instant
from attestation.proof_of_cloud.snapshot import RegistrySnapshot
from attestation.receipts import judge_decision
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.composed import check_message, composed_signature
from attestation.receipts.document import Receipt
from attestation.receipts.entry import Boot, SeenVerdict
from attestation.receipts.identity import Presented, check_presented
from attestation.receipts.judge_logs import check_checkpoint, check_countersignatures, check_inclusion
from attestation.receipts.roster import RosterFacts, read_chain
from attestation.roots import Roots
from attestation.verdict import Outcome, Result, Step, Trace
from attestation.verifier import Verifier

STEPS = {
    "1": "the file has its form",
    "2": "the cluster is the one named",
    "3": "the roster is signed, from the first version on",
    "4": "evidence binds each identity key to a machine the roster admits",
    "5": "each log's checkpoint is signed by its node",
    "6": "every entry is in its log",
    "7": "peers countersigned each log",
    "8": "the nodes decided alike on the request",
    "9": "each of them trusted the others by this evidence",
    "10": "the key is the certified one",
    "11": "the times follow each other",
    "12": "what left the nodes is what they committed to",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptVerdict:
    """Overall result, every step, and what the receipt proves if it is trusted."""

    result: Result
    steps: tuple[Step, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    decided_at: int | None = None
    """The time (Unix seconds) everything was judged as of."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Stable codes of the failed steps."""
        return tuple(step.code for step in self.steps if step.code is not None)

    def to_json(self) -> dict[str, Any]:
        """The verdict as a JSON object."""
        return {
            "result": self.result.value,
            "reasons": list(self.reasons),
            "decided_at": self.decided_at,
            "facts": dict(self.facts),
            "steps": [step.to_json() for step in self.steps],
        }


@dataclass(slots=True, kw_only=True)
class _Case:
    """What the steps pass on."""

    receipt: Receipt
    roots: Roots
    at: int
    message: bytes | None
    chain: tuple[RosterFacts, ...] = ()
    keys: dict[tuple[str, int], bytes] = field(default_factory=dict)
    evidence: dict[bytes, Presented] = field(default_factory=dict)
    claims: dict[tuple[str, int], Claims] = field(default_factory=dict)
    heads: dict[tuple[str, int], LogCheckpoint] = field(default_factory=dict)
    boots: dict[tuple[str, int], Boot] = field(default_factory=dict)
    peers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outcome: judge_decision.Outcome | None = None
    signature: bytes | None = None


def judge(data: bytes, *, cluster: bytes | None, roots: Roots, message: bytes | None = None) -> ReceiptVerdict:
    """The verdict on a receipt file; `cluster` is the id the reader knows, `message` what was signed, if at hand."""
    trace = Trace()
    case: _Case | None = None
    missing = False
    try:
        with trace.step("1", STEPS["1"]):
            receipt = Receipt.parse(data)
            case = _Case(receipt=receipt, roots=roots, at=receipt.decided_at, message=message)
        if cluster is None:
            trace.skip("2", STEPS["2"], "no cluster id was given to compare with")
        else:
            with trace.step("2", STEPS["2"]):
                _check_cluster(case, cluster)
        for number, work in _WORK.items():
            with trace.step(number, STEPS[number]):
                work(case)
        if receipt.openings or message is not None:
            with trace.step("12", STEPS["12"]):
                _check_outputs(case)
        else:
            trace.skip("12", STEPS["12"], "the receipt does not tell what left them")
    except CodedError as error:
        missing = isinstance(error, CollateralMissingError)
    steps = tuple(_all_steps(trace.steps))
    failed = any(step.result is Outcome.FAIL for step in steps)
    if missing or (not failed and cluster is None):
        result = Result.INDETERMINATE
    else:
        result = Result.UNTRUSTED if failed else Result.TRUSTED
    return ReceiptVerdict(
        result=result,
        steps=steps,
        facts=_facts(case) if case is not None and not failed else {},
        decided_at=case.at if case is not None else None,
    )


def _all_steps(found: list[Step]) -> list[Step]:
    reached = {step.step for step in found}
    return found + [
        Step(step=number, name=name, result=Outcome.SKIPPED, reason="an earlier step failed")
        for number, name in STEPS.items()
        if number not in reached
    ]


def _check_cluster(case: _Case, cluster: bytes) -> None:
    if case.receipt.cluster != cluster:
        raise ReceiptError(f"the receipt is of cluster {case.receipt.cluster.hex()}", code="receipt.cluster")


def _check_rosters(case: _Case) -> None:
    case.chain = read_chain(case.receipt.rosters)
    if case.chain[0].cluster != case.receipt.cluster:
        raise ReceiptError("the first roster's digest is not the cluster id", code="receipt.cluster")


def _check_identities(case: _Case) -> None:
    receipt = case.receipt
    rosters = {facts.digest: facts for facts in case.chain}
    verifier, collateral = Verifier(case.roots), Collateral.of(*receipt.collateral)
    snapshots = {snapshot.root: snapshot for snapshot in map(RegistrySnapshot.parse, receipt.registries)}
    newest = max(snapshots.values(), key=lambda snapshot: snapshot.sequence)
    relied = {
        leaf.entry.evidence: leaf.entry.registry_root
        for log in receipt.logs
        for leaf in log.leaves
        if isinstance(leaf.entry, SeenVerdict)
    }
    for presented in receipt.identities:
        root = relied.get(presented.evidence_digest, newest.root)
        if root not in snapshots:
            raise ReceiptError("the registry that a verdict rests on is absent", code="receipt.registry")
        claims = check_presented(
            presented,
            rosters=rosters,
            verifier=verifier,
            collateral=collateral,
            snapshot=snapshots[root],
            at=case.at,
        )
        name = (presented.slot, presented.boot_counter)
        if case.keys.setdefault(name, presented.identity_key) != presented.identity_key:
            raise ReceiptError(f"two identities claim boot {name[1]} of {name[0]}", code="receipt.twin")
        case.evidence[presented.evidence_digest] = presented
        case.claims[name] = claims


def _check_checkpoints(case: _Case) -> None:
    names = [(log.slot, log.boot_counter) for log in case.receipt.logs]
    if len(set(names)) != len(names):
        raise ReceiptError("a log is shown twice", code="receipt.checkpoint")
    for log in case.receipt.logs:
        case.heads[log.slot, log.boot_counter] = check_checkpoint(log, case.keys, case.receipt.cluster)


def _check_inclusions(case: _Case) -> None:
    for log in case.receipt.logs:
        name = (log.slot, log.boot_counter)
        case.boots[name] = check_inclusion(log, case.heads[name], case.keys[name])


def _check_peers(case: _Case) -> None:
    needed = {facts.digest: facts.countersigners for facts in case.chain}
    for log in case.receipt.logs:
        name = (log.slot, log.boot_counter)
        wanted = needed.get(case.boots[name].roster_digest)
        if wanted is None:
            raise ReceiptError("a log began under a roster that is not in the chain", code="receipt.boot")
        case.peers[log.slot] = check_countersignatures(log, case.heads[name], case.keys, wanted)


def _check_agreement(case: _Case) -> None:
    case.outcome = judge_decision.check_agreement(case.receipt)


def _check_verdicts(case: _Case) -> None:
    assert case.outcome is not None
    judge_decision.check_verdicts(case.outcome, case.evidence)


def _check_certificate(case: _Case) -> None:
    assert case.outcome is not None
    certificate = case.receipt.certificate
    judge_decision.check_certificate(case.outcome, certificate, case.receipt)
    if certificate is not None:
        certificate.check_signatures(case.keys)


def _check_times(case: _Case) -> None:
    assert case.outcome is not None
    judge_decision.check_times(case.outcome, case.receipt.certificate, case.heads, case.boots)


def _check_outputs(case: _Case) -> None:
    assert case.outcome is not None
    found = judge_decision.check_openings(case.outcome, case.receipt.openings)
    schemes = {opening.scheme for opening in case.receipt.openings}
    if schemes == {"frost-ed25519"} and set(found) == set(case.outcome.slots):
        case.signature = composed_signature(found)
    if case.message is not None:
        certificate = case.receipt.certificate
        check_message(case.message, found, case.signature, certificate.public_key if certificate is not None else b"")


_WORK: Mapping[str, Callable[[_Case], None]] = {
    "3": _check_rosters,
    "4": _check_identities,
    "5": _check_checkpoints,
    "6": _check_inclusions,
    "7": _check_peers,
    "8": _check_agreement,
    "9": _check_verdicts,
    "10": _check_certificate,
    "11": _check_times,
}


def _facts(case: _Case) -> dict[str, Any]:
    """What the receipt proves, for people and programs."""
    assert case.outcome is not None
    outcome = case.outcome
    first = outcome.made[0].decision
    newest = case.chain[-1]
    return {
        "cluster": case.receipt.cluster.hex(),
        "environment": "production" if newest.is_production else "development",
        "outcome": "allowed" if outcome.is_allowed else "refused",
        "codes": sorted({item.decision.code for item in outcome.made} - {""}),
        "request_id": case.receipt.request_id.hex(),
        "decided_at": format_instant(case.at),
        "principal": first.principal,
        "credential": first.credential,
        "verbs": sorted({item.decision.verb for item in outcome.made}),
        "resource": first.resource,
        "epoch": first.epoch,
        "policy": first.policy,
        "policy_version": first.policy_version,
        "rule": first.rule,
        "signers": [slot for slot, _ in first.members],
        "target": first.target,
        "nodes": [
            {
                "slot": item.log.slot,
                "boot_counter": item.log.boot_counter,
                "leaf": item.index,
                "tee": case.claims[item.log.slot, item.log.boot_counter].tee.value,
                "platform_id": str(case.claims[item.log.slot, item.log.boot_counter].platform_id),
                "countersigned_by": list(case.peers[item.log.slot]),
            }
            for item in outcome.made
        ],
        "signature": b64url(case.signature) if case.signature is not None else None,
    }
