"""Heartbeats as countersignatures: what a peer signed it had seen of a log (specs/heartbeats.md section 3).

A heartbeat is its author's signature over `tagged("heartbeat", cluster, body)`, body being a MessagePack map.  Of it a
verifier needs the author, its boot, its time, its own log head, and the row of each peer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.errors import ReceiptError
from attestation.receipts.encoding import tagged
from attestation.receipts.msgpack import unpack

HEARTBEAT_BYTES_MAX = 32 << 10
"""Largest body, as nodes have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the author last accepted of one peer."""

    slot: str
    boot_counter: int
    identity: bytes
    """SHA-256 of the peer's identity key."""
    log_size: int
    log_root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The members that concern logs, and the exact bytes with their signature."""

    cluster: bytes
    slot: str
    boot_counter: int
    time: int
    log_size: int
    log_root: bytes
    seen: tuple[Seen, ...]
    body: bytes
    signature: bytes

    @classmethod
    def parse(cls, body: bytes, signature: bytes) -> Heartbeat:
        """Read a body, unverified; raises ReceiptError (`receipt.heartbeat`)."""
        if len(body) > HEARTBEAT_BYTES_MAX or len(signature) != 64:
            raise _malformed("a heartbeat or its signature does not have its size")
        try:
            value = unpack(body)
        except ReceiptError as error:
            raise _malformed(error.detail) from None
        if not isinstance(value, dict) or not isinstance(value.get("seen"), list):
            raise _malformed("expected the members of a heartbeat")
        return cls(
            cluster=_bytes(value, "cluster", 32),
            slot=_text(value, "slot"),
            boot_counter=_integer(value, "boot_counter"),
            time=_integer(value, "time"),
            log_size=_integer(value, "log_size"),
            log_root=_bytes(value, "log_root", 32),
            seen=tuple(_seen(item) for item in value["seen"]),
            body=body,
            signature=signature,
        )

    def is_signed(self, identity_key: bytes) -> bool:
        """Whether `identity_key` signed it."""
        try:
            Ed25519PublicKey.from_public_bytes(identity_key).verify(
                self.signature, tagged("heartbeat", self.cluster, self.body)
            )
        except (InvalidSignature, ValueError):
            return False
        return True

    def echo(self, slot: str) -> Seen | None:
        """Its row for `slot`."""
        return next((row for row in self.seen if row.slot == slot), None)


def _seen(value: Any) -> Seen:
    if not isinstance(value, dict):
        raise _malformed("expected a row for each peer")
    return Seen(
        slot=_text(value, "slot"),
        boot_counter=_integer(value, "boot_counter"),
        identity=_bytes(value, "identity", 32),
        log_size=_integer(value, "log_size"),
        log_root=_bytes(value, "log_root", 32),
    )


def _integer(value: dict[str, Any], name: str) -> int:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, int):
        raise _malformed(f"expected a number as {name}")
    return found


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str) or len(found) > 64:
        raise _malformed(f"expected a name as {name}")
    return found


def _bytes(value: dict[str, Any], name: str, size: int) -> bytes:
    found = value.get(name)
    if not isinstance(found, bytes) or len(found) != size:
        raise _malformed(f"expected {size} bytes as {name}")
    return found


def _malformed(detail: str) -> ReceiptError:
    return ReceiptError(detail, code="receipt.heartbeat")
