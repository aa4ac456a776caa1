"""Runs inside callgrind: `python -m tests.ct.openssl_counts LIBRARY`; OpenSSL's instructions on P-256 private keys.

memcheck has nothing to say here: OpenSSL branches on the width and on the public half of the very key it was given, in
hundreds of places.  What matters can be counted: valgrind collects only inside SECRET_FUNCTIONS, and their sum is
dumped for every key after loading it and after signing with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_der_private_key

from enclave.threshold.p256 import _ALGORITHM, _PKCS8, ORDER
from tests.ct.callgrind import CONTROL, WARM_UP
from tests.ct.shim import Shim

SECRET_FUNCTIONS = ("ecp_nistz256_points_mul", "ecp_nistz256_inv_mod_ord", "ossl_ecdsa_simple_sign_sig")
"""Key or nonce times base, inverse of the nonce, and r, s from key and nonce."""

LOAD, SIGN = "P-256 load in OpenSSL", "P-256 sign in OpenSSL"
WORD_BITS = 64
"""OpenSSL's numbers lose leading zero words: a key of fewer words is told apart, which for a drawn key has odds of
2^-64.  Signing with such a key is the control."""

WARM_UPS = 4
"""Rounds until malloc, whose instructions count too, has settled."""


def keys() -> Iterator[tuple[str, int]]:
    """(name, private key) of the keys that must cost the same."""
    for i in range(WARM_UPS):
        yield WARM_UP, ORDER // (3 + i)
    yield "few bits", 2**255 + 2**100 + 1
    yield "many bits", 2**255 - 2**100 - 1
    yield "short by two bytes", ORDER >> 17
    for i in range(4):
        yield f"random {i}", int.from_bytes(os.urandom(32), "big") % (ORDER - 2**200) + 2**200


def main() -> None:
    """Count loading and signing for every key, and the control."""
    library = Shim(Path(sys.argv[1])).library

    def measure(name: str, value: int, *tags: str) -> None:
        document = bytearray(_PKCS8 + value.to_bytes(32, "big"))
        library.ct_zero()
        private = load_der_private_key(document, None)
        if LOAD in tags:
            library.ct_dump(f"{LOAD}|{name}".encode())
        library.ct_zero()
        private.sign(bytes(range(32)), _ALGORITHM)  # type: ignore[union-attr,call-arg,arg-type]
        library.ct_dump(f"{tags[-1]}|{name}".encode())

    for name, value in keys():
        measure(name, value, LOAD, SIGN)
    for name, value in (("four words", ORDER // 5), ("one word", 2**WORD_BITS - 59)):
        measure(name, value, CONTROL + SIGN)


if __name__ == "__main__":
    main()
