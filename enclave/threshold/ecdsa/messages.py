"""The four payloads of threshold ECDSA."""

from __future__ import annotations

import msgspec

DEALT_SCALARS = 5
"""k, a, b, d, e: nonce, its mask, and three sharings of zero."""
DEALT_BYTES = 32 * DEALT_SCALARS


class Round1(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Sealed evaluations for every other signer, by index."""

    sealed: dict[int, bytes]


class Round2(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Echo of round 1, public nonce share R_i, masked nonce share w_i."""

    echo: bytes
    nonce_share: bytes
    masked: bytes


class Round3(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Echo of round 2, W_i = a_i R."""

    echo: bytes
    check_share: bytes


class Release(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Round 4, for the gateway: the common nonce point and this signer's weighted signature share."""

    nonce: bytes
    share: bytes
