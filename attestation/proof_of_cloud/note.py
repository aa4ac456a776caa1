"""Signed notes (C2SP signed-note): a text under Ed25519 signatures by named keys.

A signature from an unknown key is ignored; a signature that names a known key and does not verify is
ignored as well, because only valid ones are counted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from attestation.errors import StatementError

NOTE_BYTES_MAX = 16_384
"""Largest note read; 64 signatures of 110 bytes each and a short text stay below half of it."""

SIGNATURES_MAX = 64
NAME_CHARACTERS_MAX = 128

_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text (ending in a newline) and its signature lines as pairs (key name, key hash || signature)."""

    text: str
    signatures: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Read the wire form strictly; raises StatementError (`proof-of-cloud.malformed`)."""
        if len(data) > NOTE_BYTES_MAX:
            raise StatementError(f"expected a note of at most {NOTE_BYTES_MAX} bytes, found {len(data)}")
        try:
            content = data.decode("utf-8", "strict")
        except UnicodeDecodeError:
            raise StatementError("a note is not UTF-8") from None
        if any(character < " " and character != "\n" for character in content):
            raise StatementError("a note holds a control character")
        text, blank, tail = content.rpartition("\n\n")
        if not blank or not text or not tail.endswith("\n"):
            raise StatementError("expected a text, a blank line and signature lines in a note")
        lines = tail[:-1].split("\n")
        if len(lines) > SIGNATURES_MAX:
            raise StatementError(f"expected at most {SIGNATURES_MAX} signatures on a note, found {len(lines)}")
        return cls(text=text + "\n", signatures=tuple(_signature(line) for line in lines))

    def encode(self) -> bytes:
        """The wire form."""
        lines = (f"{_DASH}{name} {base64.b64encode(blob).decode()}\n" for name, blob in self.signatures)
        return (self.text + "\n" + "".join(lines)).encode()

    def signed(self, name: str, key: Ed25519PrivateKey) -> Note:
        """A copy with the signature of `name` added, in place of an earlier one of that name."""
        blob = key_hash(name, key.public_key().public_bytes_raw()) + key.sign(self.text.encode())
        kept = tuple(pair for pair in self.signatures if pair[0] != name)
        return replace(self, signatures=(*kept, (check_name(name), blob)))

    def signers(self, keys: Mapping[str, bytes]) -> frozenset[str]:
        """Those names of `keys` (name to raw Ed25519 public key) with a valid signature on this note."""
        message = self.text.encode()
        return frozenset(
            name for name, blob in self.signatures if name in keys and _valid(name, keys[name], blob, message)
        )


def key_hash(name: str, public_key: bytes) -> bytes:
    """The 4 bytes that tell one key of a name from another (signed-note, Ed25519 type 0x01)."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def check_name(name: str) -> str:
    """`name` if it may name a key: printable ASCII without spaces and without "+"; raises StatementError."""
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not all("!" <= c <= "~" and c != "+" for c in name):
        raise StatementError(f"expected a key name without spaces and plus signs, found {name[:40]!r}")
    return name


def _signature(line: str) -> tuple[str, bytes]:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise StatementError("expected signature lines of the form: dash, name, base64")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise StatementError("a note signature is not base64") from None
    if len(blob) < 5 or base64.b64encode(blob).decode() != encoded:
        raise StatementError("a note signature is too short or not canonical base64")
    return check_name(name), blob


def _valid(name: str, public_key: bytes, blob: bytes, message: bytes) -> bool:
    if len(blob) != 68 or blob[:4] != key_hash(name, public_key):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(blob[4:], message)
    except (InvalidSignature, ValueError):
        return False
    return True
