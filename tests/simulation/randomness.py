"""All chance from one seed: replaces the process's sources of randomness, so that a timeline can be played again.

Rules kept: every byte drawn by code under simulation comes from one generator that a timeline seeds; libraries that
draw inside (key pairs of ML-KEM and X25519) may do so, because nothing decides by what they draw.
"""

from __future__ import annotations

import os
import random
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.secret import Secret

_GENERATOR = random.Random(0)


def install() -> None:
    """Take the place of the kernel's generator."""
    module: Any = os
    module.urandom = _GENERATOR.randbytes
    strong: Any = secrets
    strong.token_bytes = lambda size=32: _GENERATOR.randbytes(size)
    strong.randbits = _GENERATOR.getrandbits
    strong.randbelow = _GENERATOR.randrange
    secret: Any = Secret
    secret.random = classmethod(_secret)


def seed(value: int) -> None:
    """Begin anew."""
    _GENERATOR.seed(value)
    random.seed(value ^ 0x5EED)


def draw(size: int) -> bytes:
    """Bytes from the seeded generator."""
    return _GENERATOR.randbytes(size)


def private_key() -> Ed25519PrivateKey:
    """An Ed25519 key from the seeded generator."""
    return Ed25519PrivateKey.from_private_bytes(_GENERATOR.randbytes(32))


def _secret(cls: type[Secret], size: int = 32) -> Secret:
    return cls.take(bytearray(_GENERATOR.randbytes(size)))
