"""Sealing keys of simulated machines: bound to the machine, to what it measured, and to a label."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEALING_DOMAIN = b"holdfast/simulated-sealing-key/v1\x00"


def derive_sealing_key(secret: bytes, measurement: bytes, label: str) -> bytearray:
    """HKDF-SHA256 of the machine's secret over domain, length-prefixed measurement and label; 32 bytes."""
    info = SEALING_DOMAIN + len(measurement).to_bytes(4, "big") + measurement + label.encode()
    return bytearray(HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(secret))
