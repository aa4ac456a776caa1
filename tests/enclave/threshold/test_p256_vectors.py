"""P-256 signatures of the assembler's last step are those of RFC 6979, made low."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_private_key

from enclave.threshold import p256

FILE = Path(__file__).parents[3] / "../shared/vectors/crypto/rfc6979/evppkey_ecdsa_rfc6979.txt"

PRIVATE = bytes.fromhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
RFC6979 = {
    b"sample": (
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    ),
    b"test": (
        "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
        "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
    ),
}
"""RFC 6979 appendix A.2.5 with SHA-256: message -> r, s."""


def signed(message: bytes) -> tuple[int, int]:
    """r and s by the production path from a private key on."""
    private = load_der_private_key(p256._PKCS8 + PRIVATE, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    signature = p256._signed(private, hashlib.sha256(message).digest())
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


@pytest.mark.parametrize("message", RFC6979)
def test_signatures_equal_rfc_6979(message: bytes) -> None:
    """The nonce is the RFC's; of the two s, it is the low one that leaves."""
    r, s = (int(value, 16) for value in RFC6979[message])
    assert signed(message) == (r, min(s, p256.ORDER - s))


def test_signatures_equal_the_published_file() -> None:
    """The same through the published file, whose other curves and hashes nothing here signs with."""
    if not FILE.exists():
        pytest.skip("vectors absent: rfc6979/evppkey_ecdsa_rfc6979.txt")
    blocks = re.findall(
        r'DigestSign = SHA256\nKey = P-256_PRIV\nNonceType = deterministic\nInput = "(\w+)"\nOutput = (\w+)',
        FILE.read_text(),
    )
    assert len(blocks) == 2
    for message, der in blocks:
        r, s = decode_dss_signature(bytes.fromhex(der))
        assert signed(message.encode()) == (r, min(s, p256.ORDER - s))
