"""Witness statements: a node's word on how far its sealed state has come, kept by its peers.

Rules kept: a statement counts only with the MAC of the slot's own platform, which survives restarts of the same
code and which nobody else can make; so a peer can keep a statement back, but not invent one.
"""

from __future__ import annotations

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac

from enclave.errors import WireError
from enclave.tee import Tee
from enclave.wire.message import Message, decode, encode, tagged

LABEL = "holdfast/witness/v1"
"""Label of the platform's key for the MAC."""

STATEMENT_BYTES_MAX = 256
"""Largest statement; an honest one has about 150 bytes."""

DIGEST_BYTES = 32

COUNTER_MAX = (1 << 63) - 1


class Statement(Message, frozen=True):
    """How far a slot's sealed state had come."""

    incarnation: int
    boot_counter: int
    """The boot that made it."""
    counter: int
    digest: bytes
    """Chains every advance of the state to the one before."""
    mac: bytes = b""


_DECODER = msgspec.msgpack.Decoder(Statement)


def read(data: bytes) -> Statement | None:
    """The unverified statement in a message; None where there is none or it does not have its form."""
    if not 0 < len(data) <= STATEMENT_BYTES_MAX:
        return None
    try:
        statement = decode(_DECODER, data)
    except WireError:
        return None
    numbers = (statement.incarnation, statement.boot_counter, statement.counter)
    if any(not 0 <= number <= COUNTER_MAX for number in numbers) or len(statement.digest) != DIGEST_BYTES:
        return None
    return statement


class Maker:
    """Makes and recognises the statements of one slot."""

    def __init__(self, tee: Tee, *, cluster: bytes, slot: str) -> None:
        """Raises TeeError."""
        self._cluster, self._slot = cluster, slot.encode()
        with tee.sealing_key(LABEL) as key:
            self._mac = hmac.HMAC(key.view, hashes.SHA256())

    def make(self, statement: Statement) -> bytes:
        """The statement with its MAC, as it travels."""
        mac = self._over(statement).finalize()
        return encode(msgspec.structs.replace(statement, mac=mac))

    def is_own(self, statement: Statement) -> bool:
        """Whether this slot's platform made it."""
        try:
            self._over(statement).verify(statement.mac)
        except InvalidSignature:
            return False
        return True

    def _over(self, statement: Statement) -> hmac.HMAC:
        mac = self._mac.copy()
        numbers = (statement.incarnation, statement.boot_counter, statement.counter)
        parts = [number.to_bytes(8, "big") for number in numbers]
        mac.update(tagged("witness", self._cluster, self._slot, *parts, statement.digest))
        return mac
