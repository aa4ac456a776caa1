"""How scalars and points of secp256k1 are handed to libsecp256k1: sizes, encodings, pointers into the arena."""

from __future__ import annotations

from typing import Any

from coincurve._libsecp256k1 import ffi, lib

from enclave.errors import AbortError, CallerError

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""n, the order of the base point (SEC 2 section 2.4.1)."""

SCALAR_BYTES = 32
DIGEST_BYTES = 32
POINT_BYTES = 33
"""SEC 1 compressed."""

PUBKEY_P = ffi.typeof("secp256k1_pubkey *")
PUBKEY_BYTES = ffi.sizeof("secp256k1_pubkey")

_UCHAR_P = ffi.typeof("unsigned char *")
_POINT = ffi.typeof("unsigned char[33]")
_SIZE_P = ffi.typeof("size_t *")
_COMPRESSED = lib.SECP256K1_EC_COMPRESSED


class _Pointers(dict[int, Any]):
    """Made once per address: the arena is never unmapped."""

    def __missing__(self, address: int) -> Any:
        pointer = self[address] = ffi.cast(_UCHAR_P, address)
        return pointer


pointers = _Pointers()
"""Where a secret is, for the library; asked with `Secret.address`, which a wiped secret does not have."""


def encode(k: int) -> bytes:
    """A public integer, reduced, as the library reads it."""
    return (k % ORDER).to_bytes(SCALAR_BYTES, "big")


def done(code: int) -> None:
    """Raises AbortError when the library has refused an operation on scalars."""
    if code != 1:
        raise AbortError("a scalar became zero or was not reduced")


def serialized(context: Any, point: Any) -> bytes:
    """A parsed public point, compressed."""
    out, size = ffi.new(_POINT), ffi.new(_SIZE_P, POINT_BYTES)
    lib.secp256k1_ec_pubkey_serialize(context, out, size, point, _COMPRESSED)
    return bytes(out)


def both_coordinates(output: Any, x32: Any, y32: Any, _data: Any) -> int:
    """The "hash" of our ECDH: both coordinates as they are, so that the product comes out as a point."""
    ffi.memmove(output, x32, 32)
    ffi.memmove(output + 32, y32, 32)
    return 1


def check_digest(digest32: bytes) -> None:
    """Raises CallerError (`digest.size`) unless it has 32 bytes."""
    if len(digest32) != DIGEST_BYTES:
        raise CallerError(f"expected a digest of 32 bytes, found {len(digest32)}", code="digest.size")
