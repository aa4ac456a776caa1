"""The gateway's step of threshold ECDSA: add the released shares, normalise, and check against the public key."""

from __future__ import annotations

from collections.abc import Mapping

from enclave.errors import AbortError, CallerError
from enclave.group.secp256k1 import SECP256K1
from enclave.threshold.ecdsa.messages import Release
from enclave.threshold.ecdsa.session import Session
from enclave.threshold.scalars import decode_public


def finish(session: Session, payloads: Mapping[int, bytes]) -> tuple[bytes, int]:
    """(r || s with low s, recovery id) from every signer's release.

    Raises AbortError when the releases do not make a signature, with no culprit: the protocol does not tell; PeerError
    (`ceremony.malformed`) for a payload without its stated form.
    """
    ceremony, order = session.ceremony(), SECP256K1.order
    ceremony.check_complete(payloads)
    releases = {i: ceremony.decode(Release, i, payloads[i]) for i in ceremony.indices}
    nonces = {release.nonce for release in releases.values()}
    if len(nonces) != 1:
        raise AbortError("signers released for different nonces")
    nonce = nonces.pop()
    try:
        SECP256K1.validate_point(nonce)
        s = sum(decode_public(SECP256K1, release.share) for release in releases.values()) % order
    except CallerError:
        raise AbortError("a release is not a point and a scalar") from None
    x = int.from_bytes(nonce[1:], "big")
    # Recovery id: bit 0 is the parity of R.y, bit 1 tells that R.x was above the order (SEC 1 section 4.1.6).
    recovery_id = (nonce[0] & 1) | (2 if x >= order else 0)
    if s > order // 2:
        s, recovery_id = order - s, recovery_id ^ 1
    signature = (x % order).to_bytes(32, "big") + s.to_bytes(32, "big")
    try:
        recovered = SECP256K1.ecdsa_recover(signature, recovery_id, session.digest)
    except CallerError:
        recovered = b""
    if recovered != session.public_key:
        raise AbortError("released shares do not make a signature under the key")
    return signature, recovery_id
