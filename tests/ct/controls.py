"""Known-bad code the gate must catch: a run in which one of these passes is void.

Every control is something a tired programmer would write about a secret; none of it is in the product
(tests/lint sees to that).
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Callable, Iterator

import coincurve
from coincurve._libsecp256k1 import ffi as secp_ffi
from coincurve._libsecp256k1 import lib as secp_lib

from enclave.derive import hkdf_sha256, sha512
from enclave.group import ED25519, SECP256K1
from enclave.secret import Secret
from enclave.threshold import ceremony_kem

Control = Callable[[bytes], object]
"""Called with 32 poisoned bytes."""


def all_controls() -> Iterator[tuple[str, Control]]:
    """Every (name, control)."""
    other, key = os.urandom(32), coincurve.PublicKey.from_secret(bytes(31) + b"\x07")
    yield "bytes ==", lambda secret: secret == other
    yield "bytes in a set", lambda secret: secret in {other}
    yield "int.from_bytes", lambda secret: int.from_bytes(secret, "big")
    yield "int arithmetic", lambda secret: int.from_bytes(secret, "little") * 5 % (2**252 + 1)
    yield "bytes.hex", lambda secret: secret.hex()
    yield "base64", base64.b64encode
    yield "branch on a byte", lambda secret: "odd" if secret[0] & 1 else "even"
    yield "iteration", lambda secret: sum(1 for byte in secret if byte)
    yield "%-formatting", lambda secret: "%d" % secret[3]  # noqa: UP031 - what loggers do
    yield "any", any
    yield "bytes.strip", lambda secret: secret.lstrip(b"\0")
    yield "coincurve.PrivateKey", lambda secret: coincurve.PrivateKey(secret)
    yield "coincurve.PublicKey.multiply", lambda secret: key.multiply(secret)
    yield "ec_pubkey_tweak_mul", _tweak_mul
    yield "hmac.compare_digest then branch", lambda secret: 1 if hmac.compare_digest(secret, other) else 0


def _tweak_mul(secret: bytes) -> object:
    context = secp_lib.secp256k1_context_create(secp_lib.SECP256K1_CONTEXT_NONE)
    point = secp_ffi.new("secp256k1_pubkey *")
    secp_lib.secp256k1_ec_pubkey_create(context, point, bytes(31) + b"\x07")
    return secp_lib.secp256k1_ec_pubkey_tweak_mul(context, point, secret)


def arena_controls() -> Iterator[tuple[str, Callable[[], Secret]]]:
    """(name, production call on poisoned input) whose secret result must still be poisoned.

    They show that the stand-ins declassify return codes and ciphertexts only: each result, read with `==`, is an error.
    """
    yield "fresh secret", Secret.random
    for group in (ED25519, SECP256K1):
        yield f"{group.name}.random_scalar", group.random_scalar
        yield f"{group.name}.add", lambda group=group: group.add(group.random_scalar(), group.random_scalar())
        yield f"{group.name}.invert", lambda group=group: group.invert(group.random_scalar())
    yield "sha512", lambda: sha512(Secret.random(), b"public")
    yield "hkdf_sha256", lambda: hkdf_sha256(Secret.random(), salt=None, info=b"")
    yield "sealed and opened", _sealed_and_opened


def _sealed_and_opened() -> Secret:
    key = ceremony_kem.CeremonyKey()
    return key.open(ceremony_kem.seal(key.public, Secret.random(), b"context"), b"context")


def read_carelessly(secret: Secret) -> object:
    """A view compared with `==`."""
    return secret.view == bytes(secret.size)
