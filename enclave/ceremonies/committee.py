"""Who takes part in a ceremony about existing keys, and in what part; computed alike by every participant.

Rules kept (specs/ceremonies.md section 2): refresh and rotate take all holders; a reshare takes the whole new
committee and at least max(T, n - s + 1, floor(n / 2) + 1) old holders, all of whom deal; a repair takes exactly T
helpers and a target that holds the keys by their certificates.  A threshold below two is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from enclave.ceremonies.facts import Kind
from enclave.ceremonies.orders import CeremonyOrder
from enclave.certificate import KeyCertificate
from enclave.errors import CallerError, RefusedError
from enclave.key_specs import OPAQUE_SECRET, P256, SHARES_NEEDED_MIN, Custody
from enclave.roster import Roster


class Committee(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The participants of one session by their parts."""

    participants: list[str]
    """In roster order."""
    givers: list[str]
    """Old holders that deal or help, in roster order."""
    receivers: dict[int, str]
    """Share index -> slot afterwards; for a repair the target only."""
    shares_needed: int
    assemblers: list[str]
    target: str | None = None

    @classmethod
    def of(
        cls,
        kind: Kind,
        order: CeremonyOrder | None,
        keys: Sequence[KeyCertificate],
        participants: Sequence[str],
        roster: Roster,
    ) -> Committee:
        """Check who was called; raises CallerError, RefusedError with `ceremony.*` and `order.*` codes."""
        holders = set(keys[0].slots)
        if any(set(key.slots) != holders for key in keys):
            raise CallerError("expected keys with the same holders", code="ceremony.keys")
        if kind is Kind.RESHARE:
            assert order is not None
            made = _reshare(order, keys, participants, roster)
        elif kind is Kind.REPAIR:
            assert order is not None
            made = _repair(order, keys, participants, roster)
        else:
            made = _whole(kind, keys, roster)
        if list(participants) != made.participants:
            raise CallerError(
                "expected exactly the ceremony's participants, in roster order", code="ceremony.participants"
            )
        return made

    @property
    def holders_after(self) -> list[str]:
        """Who holds the keys once it is done (of a repair: those who take part)."""
        return self.participants if self.target is not None else list(self.receivers.values())


def givers_min(key: KeyCertificate) -> int:
    """Old holders a reshare of the key needs: no quorum of the others can be left, and none of two committees."""
    nodes = len(key.nodes)
    return max(key.shares_needed, nodes - key.signing_quorum + 1, nodes // 2 + 1)


def _whole(kind: Kind, keys: Sequence[KeyCertificate], roster: Roster) -> Committee:
    first = keys[0]
    if kind is Kind.ROTATE:
        if len(keys) != 1:
            raise CallerError("expected one key at a time", code="ceremony.keys")
        if first.spec in (OPAQUE_SECRET, P256):
            raise CallerError(
                f"a {first.spec} key has no versions", code="key.spec", hint="make a new one and move to it"
            )
    holders = _in_roster(first.slots, roster)
    return Committee(
        participants=holders,
        givers=holders,
        receivers={node.index: node.slot for node in first.nodes},
        shares_needed=min(key.shares_needed for key in keys),
        assemblers=list(first.assemblers),
    )


def _reshare(
    order: CeremonyOrder, keys: Sequence[KeyCertificate], participants: Sequence[str], roster: Roster
) -> Committee:
    holders = set(keys[0].slots)
    nodes = _in_roster(order.nodes, roster)
    givers = [slot for slot in participants if slot in holders]
    needed = max(givers_min(key) for key in keys)
    if len(givers) < needed:
        raise RefusedError(f"expected at least {needed} of the old holders", code="ceremony.quorum")
    shares_needed = order.shares_needed or 0
    if shares_needed < SHARES_NEEDED_MIN:
        raise CallerError("below two shares, one node would hold the key", code="order.shares-needed")
    for key in keys:
        quorum = key.kind.signing_quorum(key.custody, shares_needed)
        if quorum > len(nodes):
            raise CallerError(f"{shares_needed} shares need {quorum} nodes", code="order.shares-needed")
    return Committee(
        participants=_in_roster({*nodes, *givers}, roster),
        givers=givers,
        receivers=dict(enumerate(nodes, start=1)),
        shares_needed=shares_needed,
        assemblers=_assemblers(order, keys, nodes),
    )


def _assemblers(order: CeremonyOrder, keys: Sequence[KeyCertificate], nodes: Sequence[str]) -> list[str]:
    custodies = {key.custody for key in keys}
    if custodies != {Custody.RECONSTRUCT}:
        if order.assemblers:
            raise CallerError("only keys of custody reconstruct have assemblers", code="order.assemblers")
        if Custody.RECONSTRUCT in custodies:
            raise CallerError("expected keys of one custody", code="ceremony.keys")
        return []
    wanted = order.assemblers or keys[0].assemblers
    found = [slot for slot in nodes if slot in wanted]
    if not found or (order.assemblers and len(found) != len(order.assemblers)):
        raise CallerError("expected assemblers among the new nodes", code="order.assemblers")
    return found


def _repair(
    order: CeremonyOrder, keys: Sequence[KeyCertificate], participants: Sequence[str], roster: Roster
) -> Committee:
    target = order.target
    if target is None or any(key.node(target) is None for key in keys):
        raise CallerError("a repair's target holds the keys", code="ceremony.target")
    thresholds = {key.shares_needed for key in keys}
    givers = [slot for slot in participants if slot != target]
    if len(thresholds) != 1 or len(givers) != min(thresholds) or not set(givers) <= set(keys[0].slots):
        raise CallerError("a repair takes exactly T holders as helpers", code="ceremony.participants")
    return Committee(
        participants=_in_roster({*givers, target}, roster),
        givers=givers,
        receivers={node.index: node.slot for node in keys[0].nodes if node.slot == target},
        shares_needed=min(thresholds),
        assemblers=list(keys[0].assemblers),
        target=target,
    )


def _in_roster(slots: set[str] | Sequence[str], roster: Roster) -> list[str]:
    """`slots` in roster order; raises CallerError (`order.nodes`) if one is not there."""
    found = [entry.slot for entry in roster.slots if entry.slot in slots]
    if len(found) != len(slots):
        raise CallerError("a node is not in the roster", code="order.nodes")
    return found
