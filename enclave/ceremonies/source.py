"""A key that a ceremony starts from, as one participant knows it."""

from __future__ import annotations

from dataclasses import dataclass

from enclave.certificate import KeyCertificate
from enclave.group import GROUPS
from enclave.keys import HeldKey
from enclave.threshold.vss import commitments_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One key version in its present epoch."""

    certificate: KeyCertificate
    body: bytes
    held: HeldKey | None
    """This node's share, if it holds one in that epoch."""

    @property
    def commitments(self) -> tuple[bytes, ...]:
        """To the present sharing polynomial."""
        if self.held is not None and self.held.commitments:
            return self.held.commitments
        facts = self.certificate
        return commitments_of(GROUPS[facts.kind.group], facts.public_shares, facts.shares_needed)
