"""Checkpoints of a node's log: a C2SP tlog-checkpoint with one extension line, signed by the boot's identity key.

The origin names cluster, slot and boot, so one key's checkpoint never counts for another log.  The text begins with a
letter, all else that an identity key signs with a zero byte (`tagged`), so neither is ever taken for the other.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from attestation.canonical import INTEGER_MAX
from attestation.errors import ReceiptError, StatementError
from attestation.proof_of_cloud.note import Note, key_hash

NOTE_BYTES_MAX = 1024
"""Largest checkpoint note: ours have about 400 bytes."""

_ORIGIN = re.compile(r"holdfast/log/([0-9a-f]{64})/([a-z0-9][a-z0-9-]{0,62})/([1-9][0-9]{0,15})")
_ASIDE = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheckpoint:
    """The head of one boot's log: `size` leaves under `root`."""

    cluster: bytes
    slot: str
    boot_counter: int
    size: int
    root: bytes
    time: int
    """Unix seconds on the node's clock."""
    gateway_head: bytes = bytes(32)
    """Head of the gateway's audit chain as it was given, 32 opaque bytes; zeros for none."""

    @property
    def origin(self) -> str:
        """Name of the log, and of the key that signs it."""
        return f"holdfast/log/{self.cluster.hex()}/{self.slot}/{self.boot_counter}"

    def text(self) -> str:
        """What is signed."""
        root, head = base64.b64encode(self.root).decode(), base64.b64encode(self.gateway_head).decode()
        return f"{self.origin}\n{self.size}\n{root}\n{_ASIDE} {self.time} gateway {head}\n"

    def note(self, identity_key: bytes, signature: bytes) -> bytes:
        """The signed note, from the 64-byte Ed25519 signature over `text`."""
        blob = key_hash(self.origin, identity_key) + signature
        return Note(text=self.text(), signatures=((self.origin, blob),)).encode()

    @classmethod
    def parse(cls, data: bytes) -> tuple[LogCheckpoint, Note]:
        """The head and its note, unverified; raises ReceiptError (`receipt.checkpoint`)."""
        if len(data) > NOTE_BYTES_MAX:
            raise _malformed(f"expected a checkpoint of at most {NOTE_BYTES_MAX} bytes, found {len(data)}")
        try:
            note = Note.parse(data)
        except StatementError as error:
            raise _malformed(error.detail) from None
        lines = note.text.split("\n")
        origin = _ORIGIN.fullmatch(lines[0])
        words = lines[3].split(" ") if len(lines) == 5 and not lines[4] else []
        if origin is None or len(words) != 4 or words[0] != _ASIDE or words[2] != "gateway":
            raise _malformed("expected origin, size, root and one extension line")
        if note.encode() != data:
            raise _malformed("the note has another spelling")
        return cls(
            cluster=bytes.fromhex(origin[1]),
            slot=origin[2],
            boot_counter=_decimal(origin[3]),
            size=_decimal(lines[1]),
            root=_hash(lines[2]),
            time=_decimal(words[1]),
            gateway_head=_hash(words[3]),
        ), note

    @classmethod
    def verified(cls, data: bytes, identity_key: bytes) -> LogCheckpoint:
        """The head, once `identity_key` signed it; raises ReceiptError (`receipt.checkpoint`, `.signature`)."""
        head, note = cls.parse(data)
        if not note.signers({head.origin: identity_key}):
            raise ReceiptError(
                "the checkpoint is not signed by the boot's identity key", code="receipt.checkpoint-signature"
            )
        return head


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16 or (len(text) > 1 and text[0] == "0"):
        raise _malformed("expected a decimal number")
    if int(text) > INTEGER_MAX:
        raise _malformed("a number is beyond 2^53 - 1")
    return int(text)


def _hash(text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed("expected base64") from None
    if len(value) != 32 or base64.b64encode(value).decode() != text:
        raise _malformed("expected 32 bytes in base64")
    return value


def _malformed(detail: str) -> ReceiptError:
    return ReceiptError(detail, code="receipt.checkpoint")
