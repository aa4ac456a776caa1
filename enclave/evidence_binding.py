"""What a node's evidence binds: one hash over its identity and the nonces it answers (specs/evidence-binding.md).

Several verifiers' nonces share one quote through a Merkle root, because a quote is milliseconds of
work.  Requests and key epochs are deliberately not in here: signed, sealed messages under the
attested keys bind those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from attestation.merkle import leaf_hash, tree_root
from enclave.errors import WireError
from enclave.wire.attestation import Identity
from enclave.wire.message import tagged

NONCE_BYTES = 32

NONCES_MAX = 256
"""Most verifiers answered by one quote."""

REPORT_DATA_BYTES = 64


def nonce_root(nonces: Sequence[bytes]) -> bytes:
    """Merkle root (32 bytes, RFC 6962) over 1 to 256 nonces of 32 bytes; raises WireError (`evidence.nonces`)."""
    if not 1 <= len(nonces) <= NONCES_MAX or any(len(nonce) != NONCE_BYTES for nonce in nonces):
        raise WireError(f"expected 1 to {NONCES_MAX} nonces of {NONCE_BYTES} bytes", code="evidence.nonces")
    return tree_root([leaf_hash(nonce) for nonce in nonces])


def report_data(identity: Identity, root: bytes) -> bytes:
    """The 64 bytes a node asks its TEE to sign for `identity` and the nonce root.

    Raises WireError (`evidence.identity`) if a field cannot be encoded.
    """
    sizes = (
        len(identity.cluster) == 32,
        len(identity.identity_key) == 32,
        len(identity.tls_spki) == 32,
        len(identity.roster_digest) == 32,
        len(root) == 32,
        0 <= identity.boot_counter < 1 << 64,
    )
    if not all(sizes):
        raise WireError("identity fields do not have their stated sizes", code="evidence.identity")
    message = tagged(
        "evidence",
        identity.cluster,
        identity.slot.encode(),
        identity.boot_counter.to_bytes(8, "big"),
        identity.identity_key,
        identity.kem_key,
        identity.tls_spki,
        identity.roster_digest,
        identity.purpose.encode(),
        root,
    )
    return hashlib.sha512(message).digest()
