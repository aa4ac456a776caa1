"""The self-describing form of a ciphertext: which key and version it was sealed to, then stock `enc || ct`.

A convenience for whoever stores ciphertexts: nothing is believed because of the header.  A changed one names another
key, under which the ciphertext does not open (specs/threshold-decryption.md section 8).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from enclave.errors import CallerError
from enclave.ids import check_id

MAGIC = b"HFSEAL1\0"
"""First bytes of the form.  A stock ciphertext begins so by chance once in 2^64."""

_ID_BYTES = 16
_VERSION_BYTES = 4
HEADER_BYTES = len(MAGIC) + _ID_BYTES + _VERSION_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReference:
    """The key a ciphertext says it was sealed to."""

    key: str
    version: int


def describe(reference: KeyReference, sealed: bytes) -> bytes:
    """`sealed` (stock enc || ct) with its header; raises CallerError (`id.malformed`)."""
    name = check_id(reference.key, "key").removeprefix("key_").upper()
    number = reference.version.to_bytes(_VERSION_BYTES, "big")
    return MAGIC + base64.b32decode(name + "======") + number + sealed


def split_ciphertext(data: bytes) -> tuple[KeyReference | None, bytes]:
    """What a ciphertext says of itself, and its stock form; a stock ciphertext says nothing.

    Raises CallerError (`payload.ciphertext`) for a header that is cut off or names version 0.
    """
    if not data.startswith(MAGIC):
        return None, data
    if len(data) < HEADER_BYTES:
        raise CallerError("the header of the ciphertext is cut off", code="payload.ciphertext")
    name = data[len(MAGIC) : len(MAGIC) + _ID_BYTES]
    version = int.from_bytes(data[len(MAGIC) + _ID_BYTES : HEADER_BYTES], "big")
    if version == 0:
        raise CallerError("versions count from 1", code="payload.ciphertext")
    key = "key_" + base64.b32encode(name).decode("ascii").rstrip("=").lower()
    return KeyReference(key=key, version=version), data[HEADER_BYTES:]
