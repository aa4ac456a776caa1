"""Launch labels in a measured register: MROWNER = SHA-384 of JSON {instanceId, project, zone}.

The host chooses MROWNER, so equality shows that whoever launched the guest named this instance, project and zone:
a binding to the provider's records, and no identity of hardware. It counts only together with a platform id.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from attestation.errors import StatementError
from attestation.evidence import Claims
from attestation.proof_of_cloud.statement import Method, Source, Statement, check_text

HOST_CHOSEN = "host-chosen"

BINDING_LIFETIME_S = 86_400
"""A launch label is as fresh as the evidence it is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchLabel:
    """The provider's names for one virtual machine."""

    instance_id: str
    project: str
    zone: str

    def mrowner(self) -> bytes:
        """The 48 bytes the provider puts into MROWNER: compact JSON, members in this order."""
        for name, text in (("instance id", self.instance_id), ("project", self.project), ("zone", self.zone)):
            check_text(text, name)
        members = {"instanceId": self.instance_id, "project": self.project, "zone": self.zone}
        return hashlib.sha384(json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()).digest()


def binding_statement(claims: Claims, label: LaunchLabel, *, provider: str, now: int) -> Statement:
    """The verified evidence in `claims` was launched under `label`.

    Raises StatementError: `proof-of-cloud.absent` without a platform id, `.not-listed` if MROWNER differs.
    """
    if claims.platform_id is None:
        raise StatementError("a launch label alone names no machine", code="proof-of-cloud.absent")
    if claims.measurements.get("mrowner") != label.mrowner().hex():
        raise StatementError("MROWNER is not the digest of this launch label", code="proof-of-cloud.not-listed")
    return Statement(
        commitment=claims.platform_id.commitment,
        source=Source.PROVIDER_BINDING,
        issuer=provider,
        method=Method.PROVIDER_BINDING,
        level=1,
        issued_at=now,
        expires_at=now + BINDING_LIFETIME_S,
        provider=provider,
        region=label.zone,
        evidence=(claims.evidence_id,),
        notes=(HOST_CHOSEN,),
    )
