"""What a client believes before it talks to anybody."""

from __future__ import annotations

from dataclasses import dataclass, field

from kms.client.errors import ConfigurationError
from kms.client.rosters import FollowedChain

CLUSTER_ID_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchors:
    """The pinned cluster: everything else (roster, measurements, registry members) follows from its id."""

    cluster_id: bytes
    """SHA-256 of the canonical first roster, 32 bytes."""
    simulated_roots: tuple[bytes, ...] = ()
    """DER certificates of a development cluster's simulated roots; none accepts vendors' roots only."""
    roster: bytes | None = None
    """The first roster, or the chain from it, that the client already holds."""
    followed: FollowedChain = field(default_factory=FollowedChain, repr=False, compare=False)
    """What was verified since; clients that share anchors share it."""

    def __post_init__(self) -> None:
        if len(self.cluster_id) != CLUSTER_ID_BYTES:
            raise ConfigurationError(f"expected a cluster id of 32 bytes, found {len(self.cluster_id)}")

    @classmethod
    def pinned(cls, cluster_id_hex: str) -> TrustAnchors:
        """Anchors of a production cluster from its id in hex."""
        try:
            return cls(cluster_id=bytes.fromhex(cluster_id_hex))
        except ValueError:
            raise ConfigurationError("expected a cluster id of 64 hex digits") from None
