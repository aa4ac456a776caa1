"""From what each node gave out to the signature itself (RFC 9591 section 5.3), and whether it is over a message."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.errors import ReceiptError

ORDER = (1 << 252) + 27742317777372353535851937790883648493
"""Of the Ed25519 group (RFC 8032)."""


def composed_signature(parts: Mapping[str, tuple[bytes, ...]]) -> bytes:
    """R and the sum of the shares, 64 bytes, from (message digest, R, share) of each signer.

    Raises ReceiptError (`receipt.output`) if the signers do not agree.
    """
    shares = list(parts.values())
    if any(len(item) != 3 or len(item[1]) != 32 or len(item[2]) != 32 for item in shares):
        raise ReceiptError("expected a digest, R and a share of each signer", code="receipt.output")
    if len({(item[0], item[1]) for item in shares}) != 1:
        raise ReceiptError("the signers signed different messages", code="receipt.output")
    total = sum(int.from_bytes(item[2], "little") for item in shares) % ORDER
    return shares[0][1] + total.to_bytes(32, "little")


def check_message(
    message: bytes, parts: Mapping[str, tuple[bytes, ...]], signature: bytes | None, public_key: bytes
) -> None:
    """That `message` is what they signed, and the composed signature verifies where the certified key made it.

    Raises ReceiptError (`receipt.message`).
    """
    digest = hashlib.sha256(message).digest()
    if not parts or any(not item or item[0] != digest for item in parts.values()):
        raise ReceiptError("this is not the message that was signed", code="receipt.message")
    if signature is None:
        return
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise ReceiptError(
            "the composed signature is not one of the certified key over this message", code="receipt.message"
        ) from None
