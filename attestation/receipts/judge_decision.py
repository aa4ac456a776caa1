"""What was decided, by whom, and on whose word: steps 8 to 12 of specs/receipts.md section 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attestation.errors import ReceiptError
from attestation.receipts.certificate import CertificateFacts
from attestation.receipts.checkpoint import LogCheckpoint
from attestation.receipts.document import LogPart, Opening, Receipt
from attestation.receipts.entry import ALLOW, DENY, Boot, Decision, SeenVerdict, entry_digest, output_digest
from attestation.receipts.identity import Presented

SPREAD_S_MAX = 60
"""Seconds between the first and the last node's decision on one request: the life of its token."""

CLOCKS_S_MAX = 10
"""Seconds by which a peer's clock may be behind a decision it countersigned: two clocks, each off by five."""

ORDERS = frozenset({"ceremony-start", "secret-put", "import-prepare"})
"""Decisions before there is a key."""

ORDERED_MIN = 2
"""Fewest nodes behind an order: no key has one share, and what one node alone says of an order proves nothing."""

CONTRIBUTIONS = ORDERS | {
    "sign",
    "schnorr-sign",
    "ecdsa-release",
    "release",
    "assemble",
    "p256-release",
    "p256-derive",
    "partial",
    "open",
    "secret-release",
    "export",
}
"""Verbs by which a node has done its part; others (a first round, waiting for approvals) only lead there."""

_JOINERS = frozenset({"assemble", "open"})
"""What the node does that shares or partials travel to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One node's decision."""

    log: LogPart
    index: int
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the nodes did together."""

    is_allowed: bool
    made: tuple[Made, ...]
    """Of an allowed request those of one complete signer set, of a refused one all."""

    @property
    def slots(self) -> tuple[str, ...]:
        """The nodes, in the order of the signer set where there is one."""
        return tuple(dict.fromkeys(item.log.slot for item in self.made))


def check_agreement(receipt: Receipt) -> Outcome:
    """Step 8: all decisions are about the request, and those of one whole signer set agree, or all refuse.

    Raises ReceiptError (`receipt.request`, `receipt.signers`).
    """
    made = [
        Made(log=log, index=leaf.index, decision=leaf.entry)
        for log in receipt.logs
        for leaf in log.leaves
        if isinstance(leaf.entry, Decision)
    ]
    if not made or any(item.decision.request_id != receipt.request_id for item in made):
        raise ReceiptError("expected decisions on the request that the receipt names", code="receipt.request")
    if len({(item.decision.principal, item.decision.resource) for item in made if item.decision.principal}) != 1:
        raise ReceiptError("one request has one principal and one resource", code="receipt.request")
    allowed = [item for item in made if item.decision.outcome == ALLOW and item.decision.verb in CONTRIBUTIONS]
    groups: dict[tuple[object, ...], list[Made]] = {}
    for item in allowed:
        groups.setdefault(_terms(item.decision), []).append(item)
    quorum = receipt.certificate.signing_quorum if receipt.certificate is not None else ORDERED_MIN
    for group in groups.values():
        if _is_complete(group, quorum):
            return Outcome(is_allowed=True, made=tuple(group))
    refused = [item for item in made if item.decision.outcome == DENY]
    if refused and not allowed:
        return Outcome(is_allowed=False, made=tuple(refused))
    raise ReceiptError(
        f"no signer set is complete: {len({item.log.slot for item in allowed})} nodes allowed the request",
        code="receipt.signers",
    )


def check_verdicts(outcome: Outcome, evidence: Mapping[bytes, Presented]) -> None:
    """Step 9: each node that took part trusted each member by evidence that is in this receipt.

    `evidence` maps the digests of verified evidence to what was presented with it.

    Raises ReceiptError (`receipt.verdict`).
    """
    boots = {item.log.slot: item.log.boot_counter for item in outcome.made}
    for item in outcome.made:
        seen = {entry_digest(leaf.data): leaf.entry for leaf in item.log.leaves if isinstance(leaf.entry, SeenVerdict)}
        for slot, digest in item.decision.members:
            verdict = seen.get(digest)
            if verdict is None and not outcome.is_allowed:
                continue  # a refusal may name members nobody has evidence of
            if verdict is None or verdict.slot != slot:
                raise _verdict(f"the verdict of {item.log.slot} on {slot} is not among its entries")
            if not outcome.is_allowed:
                continue
            if verdict.result != "trusted" or not verdict.time <= item.decision.time <= verdict.valid_until:
                raise _verdict(f"{item.log.slot} did not trust {slot} at the time")
            if slot in boots and verdict.boot_counter != boots[slot]:
                raise _verdict(f"{item.log.slot} trusted another boot of {slot} than the one that took part")
            presented = evidence.get(verdict.evidence)
            if presented is None:
                raise _verdict(f"the evidence by which {item.log.slot} trusted {slot} is absent")
            named = (presented.slot, presented.boot_counter, presented.identity_key)
            if named != (slot, verdict.boot_counter, verdict.identity_key):
                raise _verdict(f"{item.log.slot} trusted {slot} under another identity")
            if verdict.nonce not in presented.nonces:
                raise _verdict(f"the evidence of {slot} does not answer the nonce of {item.log.slot}")


def check_certificate(outcome: Outcome, certificate: CertificateFacts | None, receipt: Receipt) -> None:
    """Step 10: the key certificate is the one all of them used, and the signer set is one of its own.

    Raises ReceiptError (`receipt.certificate`, `receipt.signers`).
    """
    first = outcome.made[0].decision
    if certificate is None:
        if outcome.is_allowed and any(item.decision.verb not in ORDERS for item in outcome.made):
            raise ReceiptError("the key certificate is absent", code="receipt.certificate")
        return
    for item in outcome.made:
        if item.decision.certificate and item.decision.certificate != certificate.digest:
            raise ReceiptError(f"{item.log.slot} used another key certificate", code="receipt.certificate")
    facts = (certificate.cluster == receipt.cluster, certificate.resource == first.resource)
    if not all(facts) or (first.certificate and (certificate.epoch, certificate.policy) != (first.epoch, first.policy)):
        raise ReceiptError("the key certificate is of another key, epoch or policy", code="receipt.certificate")
    holders = set(certificate.slots)
    if outcome.is_allowed and not {slot for slot, _ in first.members} <= holders:
        raise ReceiptError("a signer holds no share of the key", code="receipt.signers")
    if first.target and first.target not in holders | set(certificate.assemblers):
        raise ReceiptError(
            "what left the nodes went to a node that the certificate does not name", code="receipt.signers"
        )


def check_times(
    outcome: Outcome,
    certificate: CertificateFacts | None,
    heads: Mapping[tuple[str, int], LogCheckpoint],
    boots: Mapping[tuple[str, int], Boot],
) -> None:
    """Step 11: boot, activation, decisions, checkpoint and countersignatures follow each other.

    Raises ReceiptError (`receipt.time`).
    """
    times = [item.decision.time for item in outcome.made]
    if max(times) - min(times) > SPREAD_S_MAX:
        raise _time("the nodes decided more than a minute apart")
    for item in outcome.made:
        name, at = (item.log.slot, item.log.boot_counter), item.decision.time
        if at < boots[name].started_at - 1:
            raise _time(f"{item.log.slot} decided before it started")
        if heads[name].time < at:
            raise _time(f"the checkpoint of {item.log.slot} is older than its decision")
        if certificate is not None and outcome.is_allowed and at < certificate.activated_at - CLOCKS_S_MAX:
            raise _time("the key was not active yet")
        for heartbeat in item.log.countersignatures:
            if heartbeat.time < at - CLOCKS_S_MAX:
                raise _time(f"{heartbeat.slot} countersigned before {item.log.slot} decided")


def check_openings(outcome: Outcome, openings: Sequence[Opening]) -> dict[str, tuple[bytes, ...]]:
    """Step 12: what each node is said to have given out is what its decision commits to; parts by slot.

    Raises ReceiptError (`receipt.output`).
    """
    found: dict[str, tuple[bytes, ...]] = {}
    places = {(item.log.slot, item.log.boot_counter, item.index): item for item in outcome.made}
    for opening in openings:
        item = places.get((opening.slot, opening.boot_counter, opening.index))
        if item is None or output_digest(opening.scheme, *opening.parts) != item.decision.output:
            raise ReceiptError(
                f"{opening.slot} did not commit to what it is said to have given out", code="receipt.output"
            )
        found[opening.slot] = opening.parts
    return found


def _terms(decision: Decision) -> tuple[object, ...]:
    """What the members of one signer set must agree on."""
    names = tuple(slot for slot, _ in decision.members)
    policy = (decision.policy, decision.policy_version, decision.rule)
    return (names, decision.epoch, decision.certificate, decision.target, decision.subject, *policy)


def _is_complete(group: Sequence[Made], quorum: int) -> bool:
    first = group[0].decision
    names = [slot for slot, _ in first.members]
    contributed = {item.log.slot for item in group}
    if not names:
        return len(contributed) >= quorum
    if len(set(names)) != len(names) or len(names) < (ORDERED_MIN if first.verb in ORDERS else quorum):
        return False
    missing = set(names) - contributed
    if not first.target:
        return not missing
    joined = {item.log.slot for item in group if item.decision.verb in _JOINERS}
    return missing <= {first.target} and first.target in joined


def _verdict(detail: str) -> ReceiptError:
    return ReceiptError(detail, code="receipt.verdict")


def _time(detail: str) -> ReceiptError:
    return ReceiptError(detail, code="receipt.time")
