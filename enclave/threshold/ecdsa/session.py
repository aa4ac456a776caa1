"""One signing attempt: key, message, signers; everything in it enters every message of the protocol.

Rules kept (specs/threshold-ecdsa.md section 3): exactly 2t + 1 signers for privacy threshold t + 1, never more: with
more, parts of them could be shown different messages; one attempt per session id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enclave.errors import CallerError
from enclave.group.secp256k1 import SECP256K1
from enclave.threshold.ceremony import Ceremony
from enclave.wire.message import tagged

DIGEST_BYTES = 32
THRESHOLD_MIN = 2
"""t = 0 would be a single signer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The terms all signers agreed on; raises CallerError when they cannot be met."""

    session: bytes
    """Unique to this attempt; the node derives it from key, epoch, request and all boot counters."""
    slots: Mapping[int, str]
    """Signers: share index -> slot; exactly 2 * threshold - 1."""
    threshold: int
    """T = t + 1: how many nodes together have the key."""
    public_key: bytes
    """The key to verify under: the group key plus tweak * G."""
    digest: bytes
    """What is signed, 32 bytes."""
    tweak: int = 0
    """Public scalar of a derived key, 0 for the key itself."""
    context: bytes = b""

    def __post_init__(self) -> None:
        if self.threshold < THRESHOLD_MIN or len(self.slots) != 2 * self.threshold - 1:
            raise CallerError(
                f"a key that takes {self.threshold} nodes to learn is used by exactly 2 * {self.threshold} - 1 signers",
                code="signers.count",
            )
        if len(self.digest) != DIGEST_BYTES or self.hash == 0:
            raise CallerError("expected a non-zero digest of 32 bytes", code="digest.size")
        if not 0 <= self.tweak < SECP256K1.order:
            raise CallerError("tweak must be reduced modulo the group order", code="scalar.invalid")
        SECP256K1.validate_point(self.public_key)
        self.ceremony()

    @property
    def hash(self) -> int:
        """The digest as ECDSA's integer h."""
        return int.from_bytes(self.digest, "big") % SECP256K1.order

    def ceremony(self) -> Ceremony:
        """The terms as a ceremony, for bindings, digests and decoding."""
        return Ceremony(
            protocol="ecdsa",
            group=SECP256K1,
            session=self.session,
            slots=self.slots,
            threshold=self.threshold,
            context=tagged("ecdsa-terms", self.public_key, self.digest, self.tweak.to_bytes(32, "big"), self.context),
        )
