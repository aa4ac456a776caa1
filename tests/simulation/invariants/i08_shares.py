"""I8: fewer than T nodes, the gateway, its databases and everything on the wire reveal nothing usable.

Checked is what can be checked from outside: no share and no sealing key is in clear on a wire, in the gateway's
databases or on a node's disk; and T - 1 shares do not interpolate to what T shares do.
"""

from __future__ import annotations

from tests.simulation.facts import Facts
from tests.simulation.invariants.secrets import at_zero, encoding_of, sealed_roots, shares


def watch(_facts: Facts) -> None:
    """The network keeps what it carries."""


def finish(facts: Facts) -> None:
    """Search, and interpolate."""
    every = shares(facts)
    places = {
        "the wire": b"".join(facts.frames),
        "a gateway's database": b"".join(host.database() for host in facts.cluster.gateways),
        "a node's disk": b"".join(host.disk.image() if not host.is_up else b"" for host in facts.hosts),
    }
    secrets = [share for group in every.values() for share in group.values()] + sealed_roots(facts)
    for place, content in places.items():
        if any(secret in content for secret in secrets):
            facts.violation("I8", f"a share or a sealing key is in clear on {place}")
    for (name, epoch, needed), group in every.items():
        if len(group) < needed:
            continue
        order, encoding = encoding_of(facts, name)
        ids = sorted(group)
        whole = at_zero({i: group[i] for i in ids[:needed]}, order, encoding)
        if at_zero({i: group[i] for i in ids[: needed - 1]}, order, encoding) == whole:
            facts.violation("I8", f"{needed - 1} shares of {name} reveal what {needed} should")
        if len(ids) > needed and at_zero({i: group[i] for i in ids[-needed:]}, order, encoding) != whole:
            facts.violation("I8", f"shares of {name} at epoch {epoch} lie on no polynomial of degree {needed - 1}")
