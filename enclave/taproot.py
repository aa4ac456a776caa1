"""Taproot outputs that one key alone can spend (BIP-341, BIP-86): tweak, output key, address.

The output commits to an empty script tree, so nobody can hide a script path behind the key.
"""

from __future__ import annotations

from enclave.bech32 import segwit_address
from enclave.group.schnorr import tagged_hash
from enclave.threshold.bip340_session import Tweak, tweaked_key

MAINNET = "bc"
"""Human-readable part of Bitcoin's addresses (BIP-173)."""


def output_tweak(public_key: bytes, merkle_root: bytes = b"") -> Tweak:
    """What leads from an internal key (33 bytes, compressed) to its output key."""
    return Tweak(value=tagged_hash("TapTweak", public_key[1:], merkle_root), xonly=True)


def output_key(public_key: bytes, merkle_root: bytes = b"") -> bytes:
    """The 32-byte x-only key in the output; raises CallerError (`point.invalid`, `tweak.invalid`)."""
    return tweaked_key(public_key, [output_tweak(public_key, merkle_root)]).xonly


def p2tr_address(public_key: bytes, prefix: str = MAINNET) -> str:
    """The address of the key's output; raises as output_key."""
    return segwit_address(prefix, 1, output_key(public_key))
