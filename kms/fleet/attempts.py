"""When nodes say no: whether that is the answer, or whether others should be asked.

One node cannot deny service by refusing alone: a refusal is the answer once two nodes give it, or once
nobody is left to ask.  What concerns a node's own state is never the caller's fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kms.errors import KmsError, LinkError, NodeRefusal, UnavailableError
from kms.fleet.fleet import Fleet

ATTEMPTS_MAX = 3
"""Attempts per request: nodes count them and refuse the fourth."""

AGREEING_MIN = 2
"""Nodes that must refuse alike before a refusal is believed: one may be faulty or out of date."""

OWN_STATE = (
    "attestation-",
    "nonces.",
    "channel.",
    "storage.",
    "wire.",
    "ledger.",
    "peer.",
    "protocol.",
    "clock-",
    "lease-",
    "state-",
    "cold-start",
    "witness-pending",
    "versions-",
    "log-",
    "log.full",
)
"""Prefixes of codes that speak of a node, not of the request."""

USED_UP = frozenset(
    {"budget.exceeded", "budget.full", "rate.exceeded", "rate.full", "nonce-guard.used", "nonce-guard.full"}
)
"""Codes by which a node says that its own part of a limit is used up: others may have some left.

After two transactions under one nonce, some nodes remember the one and some the other.
"""

MOVING = frozenset({"key.epoch", "key.resharing", "ceremony-unresolved"})
"""Codes of nodes whose shares of the key are being renewed, or have been."""

OWN_STATE_EXACT = (
    USED_UP
    | MOVING
    | {
        "internal",
        "nonce.unknown",
        "nonce.spent",
        "key.unknown",
        "policy.unknown",
        "request.busy",
    }
)


@dataclass(slots=True, kw_only=True)
class Trouble:
    """What went wrong in the attempts of one request so far."""

    excluded: set[str] = field(default_factory=set)
    culprits: set[str] = field(default_factory=set)
    refusals: dict[str, NodeRefusal] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    doubts: Counter[str] = field(default_factory=Counter)
    """How many sets each node was in that failed without a culprit."""

    async def absorb(self, fleet: Fleet, answers: Mapping[str, Any]) -> bool:
        """Note every failure among `answers` (slot -> reply or exception); True if there was none.

        Raises NodeRefusal once enough nodes agree that the request is at fault.
        """
        clean = True
        distrustful = []
        for slot, answer in answers.items():
            if isinstance(answer, NodeRefusal):
                clean = False
                if answer.code.startswith("attestation-") and slot not in self.refusals:
                    distrustful.append(slot)  # not its fault: another member is not trusted, and the table says which
                elif not answer.code.startswith(("nonce.", "nonces.")):
                    self.excluded.add(slot)
                self.refusals[slot] = answer
            elif isinstance(answer, LinkError):
                clean = False
                self.lost.add(slot)
                self.excluded.add(slot)
                if answer.code == "node-timeout":
                    fleet.links[slot].note_timeout()
            elif isinstance(answer, BaseException):
                raise answer
        verdict = self.agreed()
        if verdict is not None:
            raise verdict
        if distrustful:
            await fleet.refresh_verdicts(distrustful)
            fleet.recheck(answers)
        return clean

    def agreed(self) -> NodeRefusal | None:
        """The refusal that enough nodes share, if any."""
        theirs = [refusal for refusal in self.refusals.values() if not is_own_state(refusal.code)]
        counts = Counter(refusal.code for refusal in theirs)
        for code, count in counts.most_common(1):
            if count >= AGREEING_MIN:
                return next(refusal for refusal in theirs if refusal.code == code)
        return None

    def blame(self, fleet: Fleet, slots: Sequence[str]) -> None:
        """Exclude nodes whose contribution was proven wrong, here and for a while elsewhere."""
        for slot in slots:
            self.culprits.add(slot)
            self.excluded.add(slot)
            fleet.links[slot].note_misbehaviour()

    def doubt(self, slots: Sequence[str]) -> None:
        """A set failed and nobody can be named."""
        self.doubts.update(slots)

    def preferred(self, holders: Sequence[str]) -> list[str]:
        """Those least doubted: with one liar among five holders and sets of three, the third set is without it.

        The second set has only one member of the first; if it fails too, that one was in both.
        """
        most = max((self.doubts[slot] for slot in holders), default=0)
        return [slot for slot in holders if self.doubts[slot] < most]

    def exhausted(self, error: KmsError | None = None) -> KmsError:
        """What to tell the caller when nothing more can be tried."""
        mine = [refusal for refusal in self.refusals.values() if not is_own_state(refusal.code)]
        if mine and not self.lost and not self.culprits:
            return mine[0]
        used_up = [refusal for refusal in self.refusals.values() if refusal.code in USED_UP]
        if used_up:
            return used_up[0]
        moving = [item for item in self.refusals.values() if item.code in MOVING]
        if moving:
            return UnavailableError(moving[0].detail, code=moving[0].code, hint=moving[0].hint)
        attestation = [item for item in self.refusals.values() if item.code.startswith("attestation-")]
        if attestation:
            return UnavailableError(attestation[0].detail, code=attestation[0].code, hint=attestation[0].hint)
        return error or UnavailableError("too few nodes gave a usable answer", hint="retry with the same request")


def is_own_state(code: str) -> bool:
    """Whether a code tells about the node that gave it rather than about the request."""
    return code in OWN_STATE_EXACT or code.startswith(OWN_STATE)
