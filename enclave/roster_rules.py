"""What must hold across a whole roster: no two entries collide, and production admits nothing simulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attestation.errors import DocumentError

if TYPE_CHECKING:
    from enclave.roster import Roster


VENDOR_ROOTS = frozenset({"intel", "amd", "aws"})
"""The only roots a production cluster accepts."""

DECIDED_BY_TWO = (
    "roster",
    "policy",
    "key-state",
    "reshare",
    "rotate",
    "repair",
    "restore",
    "import",
    "export",
    "delete",
)
"""Actions that one operator must not decide alone in production."""

UPGRADE_DELAY_S_MIN = 72 * 3600
"""Least time before code a production roster newly admits may run, in seconds: long enough for somebody to object."""

PRODUCTION_SLOTS_MIN = 5
"""Fewest nodes in production: with fewer, no peer may be down or lie when a node restarts (witnesses, section 2.1)."""


def check_unique(roster: Roster) -> None:
    """Slots, URLs, machines, operators and keys are each named once, and quorums can be met.

    Raises DocumentError (`roster.malformed`).
    """
    _distinct("slot", [entry.slot for entry in roster.slots])
    _distinct("url", [entry.url for entry in roster.slots])
    _distinct("platform", [entry.platform for entry in roster.slots])
    _distinct("operator", [entry.operator for entry in roster.operators])
    _distinct("operator key", [entry.key for entry in roster.operators])
    known = {entry.operator for entry in roster.operators}
    if any(entry.operator not in known for entry in roster.slots):
        raise DocumentError("a slot names an operator the roster does not have", code="roster.malformed")
    for action in sorted({"roster", "agent", "policy", "key-state", *roster.quorum}):
        roles = ("admin", "registrar") if action == "agent" else ("admin",)
        signers = sum(1 for entry in roster.operators if entry.roles & set(roles))
        if roster.quorum_for(action) > signers:
            raise DocumentError(
                f"quorum {roster.quorum_for(action)} for {action} cannot be met by {signers} operators",
                code="roster.malformed",
            )


def check_production(roster: Roster) -> None:
    """Nothing that exists for development, no decision by one signature; raises `roster.production`."""
    appraisal = roster.appraisal_policy
    facts = (
        (not roster.simulated_roots, "a simulated root"),
        (appraisal.allowed_roots <= VENDOR_ROOTS, "a root that is not a vendor's"),
        (not appraisal.allow_debug, "debug enclaves"),
        (not appraisal.allow_zero_measurements, "unmeasured enclaves"),
        (not any(entry.is_local for entry in roster.slots), "an address that only means this machine"),
        (all(roster.quorum_for(action) >= 2 for action in DECIDED_BY_TWO), "a quorum below two"),
        (len(roster.proof_of_cloud.members) >= 2 and roster.proof_of_cloud.threshold >= 2, "a one-member registry"),
        (roster.proof_of_cloud.level >= 1, "machines without proof of cloud"),
        (len(roster.slots) >= PRODUCTION_SLOTS_MIN, f"fewer than {PRODUCTION_SLOTS_MIN} nodes"),
        (roster.upgrade_delay >= UPGRADE_DELAY_S_MIN, "new code in less than three days"),
        (not any(issuer.is_local for issuer in roster.oidc), "an identity provider without TLS"),
    )
    for holds, what in facts:
        if not holds:
            raise DocumentError(f"a production roster does not allow {what}", code="roster.production")


def check_development(roster: Roster) -> None:
    """A root is only pinned where the appraisal admits it; raises `roster.malformed`."""
    if roster.simulated_roots and "simulated" not in roster.appraisal_policy.allowed_roots:
        raise DocumentError("a simulated root is given but the appraisal refuses it", code="roster.malformed")


def _distinct(what: str, values: Sequence[Any]) -> None:
    if len(set(values)) != len(values):
        raise DocumentError(f"two entries share one {what}", code="roster.malformed")
