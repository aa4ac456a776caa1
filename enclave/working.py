"""May this node work at all now?  The one gate before every use of a share and every ceremony (specs/heartbeats.md).

In order: the cluster's time is known and this clock agrees with it; the lease is held, so no other copy of
this node works; its sealed state is the newest; nothing restrictive is known to be missing; the log is
countersigned.  Each condition is one line here and refuses with its own code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enclave.state import NodeState


def check_working(node: NodeState, now: int) -> None:
    """Return only if this node may use its shares at `now` (cluster time, Unix seconds).

    Raises RefusedError: `clock-jump`, `clock-skew`, `lease-unclaimed`, `lease-waiting`, `lease-fenced`,
    `lease-lost`, `state-rolled-back`, `state-unsettled`, `cold-start`, `versions-behind`, `log-behind`;
    VerdictError if there is no lease for lack of trusted peers.
    """
    heartbeats = node.heartbeats
    heartbeats.clock.check()
    if not heartbeats.lease.is_held:
        _check_peers(node, now)
        heartbeats.lease.check()
    node.witness.check()
    heartbeats.versions.check()
    heartbeats.check_roster()
    heartbeats.lease.check_log(node.receipts.size)


def _check_peers(node: NodeState, now: int) -> None:
    """Raise VerdictError if this node itself trusts too few peers to get a lease from: a better reason than none."""
    peers = [entry.slot for entry in node.roster.slots if entry.slot != node.slot]
    doubted = [slot for slot in peers if node.verdicts.attested(slot, now) is None]
    if len(peers) - len(doubted) < node.roster.witness_terms.a:
        node.verdicts.require(doubted[:1], now)
