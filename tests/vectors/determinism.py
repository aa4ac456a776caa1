"""Makes the simulated vendors' signing repeatable: keys, serial numbers and ECDSA nonces follow from a label.

Only tests use this.  Everything it replaces is a source of randomness of the library that signs; what is signed,
and how it is encoded, stays the production simulator's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec


class Stream:
    """Numbered 32-byte outputs that depend on a label alone."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._count = 0

    def next(self, size: int = 32) -> bytes:
        """The next `size` bytes."""
        self._count += 1
        return hashlib.shake_256(f"holdfast test vectors/{self._label}/{self._count}".encode()).digest(size)


@contextmanager
def deterministic(label: str) -> Iterator[Stream]:
    """Within the block elliptic-curve keys, serials and ECDSA signatures are functions of `label` and call order."""
    # The library remembers the class `ec.ECDSA` at its first signature: let it meet the real one before the stand-in.
    ec.derive_private_key(1, ec.SECP256R1()).sign(b"", ec.ECDSA(hashes.SHA256()))
    stream = Stream(label)
    plain_ecdsa, certify = ec.ECDSA, x509.CertificateBuilder.sign
    revoke = x509.CertificateRevocationListBuilder.sign

    class Deterministic(plain_ecdsa):
        """ECDSA with the nonce of RFC 6979; a class, because the library asks for instances of `ec.ECDSA`."""

        def __init__(self, algorithm: Any, deterministic_signing: bool = True) -> None:
            super().__init__(algorithm, deterministic_signing=True)

    def key(curve: ec.EllipticCurve, *_: Any) -> ec.EllipticCurvePrivateKey:
        # 2^255 is below the order of both curves, and setting the lowest bit keeps it from being zero.
        return ec.derive_private_key(int.from_bytes(stream.next(), "big") >> 1 | 1, curve)

    def serial() -> int:
        return int.from_bytes(stream.next(19), "big")

    def sign_certificate(builder: Any, private_key: Any, algorithm: Any, **options: Any) -> Any:
        return certify(builder, private_key, algorithm, **_deterministic(private_key), **options)

    def sign_list(builder: Any, private_key: Any, algorithm: Any, **options: Any) -> Any:
        return revoke(builder, private_key, algorithm, **_deterministic(private_key), **options)

    with (
        mock.patch.object(ec, "generate_private_key", key),
        mock.patch.object(ec, "ECDSA", Deterministic),
        mock.patch.object(x509, "random_serial_number", serial),
        mock.patch.object(x509.CertificateBuilder, "sign", sign_certificate),
        mock.patch.object(x509.CertificateRevocationListBuilder, "sign", sign_list),
    ):
        yield stream


def _deterministic(private_key: Any) -> dict[str, bool]:
    return {"ecdsa_deterministic": True} if isinstance(private_key, ec.EllipticCurvePrivateKey) else {}
