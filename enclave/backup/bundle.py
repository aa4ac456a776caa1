"""The bundle: what one node hands out of its sealed state, for its custodians only (specs/backup.md section 4).

Rules kept: every byte is under the node's signature; parts are sealed for their place in one bundle; who may read it
is fixed by the roster in force; a damaged, foreign or incomplete bundle is told apart by its code before anything is
opened.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from enclave.errors import BackupError, WireError
from enclave.identity import is_signed
from enclave.wire.attestation import Presentation
from enclave.wire.message import Message, decode_as, encode, tagged

FORMAT = 1

MAGIC = b"HLDFBKP" + bytes([FORMAT])

BUNDLE_BYTES_MAX = 256 << 20
"""Largest bundle read: ten thousand keys take about 40 MB."""

PART_BYTES_MAX = 4 << 20
"""Largest sealed part; an honest one has at most the aim and one row more."""

KINDS = (
    "document", "waiting", "key", "wrapped", "wrapped-key", "p256-public", "budget", "nonce", "nonce-floor", "ended",
)  # fmt: skip
"""Kinds of sealed rows that are backed up; of each `key` its share, too.  The others are of one boot or one place."""

EXPORT_BYTES = 16

_LENGTH = struct.Struct(">I")

T = TypeVar("T")


class Header(Message, frozen=True):
    """Whose bundle it is and who may open it."""

    format: int
    cluster: bytes
    slot: str
    incarnation: int
    roster: bytes
    """Digest of the version in force when it was made."""
    recipient: bytes
    """Fingerprint of the public key it is sealed to."""
    boot_counter: int
    identity_key: bytes
    created_at: int
    export: bytes
    """Fresh random name of this bundle."""
    wrapped: bytes
    """The content key, sealed to the recipient."""

    @property
    def wrap_info(self) -> bytes:
        """What the content key is sealed with."""
        return wrap_info(self.cluster, self.slot, self.incarnation, self.recipient, self.export, self.identity_key)


class Indexed(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One key version in a bundle: public, so that what a set of bundles covers shows without opening it."""

    key: str
    version: int
    epoch: int
    shares_needed: int
    holders: int
    certificate: bytes
    """SHA-256 of the certificate's body: shares belong together only under one certificate."""


class Closing(Message, frozen=True):
    """The end: what the bundle consists of, signed by the node."""

    digests: list[bytes]
    """SHA-256 of every part."""
    index: list[Indexed]
    rows: int
    signature: bytes
    """Ed25519 by the header's identity key over `closing_bytes`."""


class Row(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One sealed value, as the store has it."""

    kind: str
    name: str
    value: bytes


class Part(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Rows, and apart from them the shares of the `key` rows among them, in their order; each sealed."""

    rows: bytes
    shares: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A whole bundle as read, its digests and signature checked."""

    header: Header
    header_bytes: bytes
    parts: tuple[bytes, ...]
    closing: Closing
    presentation: Presentation | None = None
    """The node's evidence over the bundle's digest, added by whoever fetched it."""

    @property
    def digest(self) -> bytes:
        """32 bytes that name everything in it."""
        return hashlib.sha256(self.statement).digest()

    @property
    def statement(self) -> bytes:
        """What the node signed."""
        return closing_bytes(self.header_bytes, self.closing.digests, self.closing.index, self.closing.rows)


def wrap_info(
    cluster: bytes, slot: str, incarnation: int, recipient: bytes, export: bytes, identity_key: bytes
) -> bytes:
    """Binds a content key to one bundle of one slot."""
    number = incarnation.to_bytes(8, "big")
    return tagged("backup-key", cluster, slot.encode(), number, recipient, export, identity_key)


def closing_bytes(header: bytes, digests: Sequence[bytes], index: Sequence[Indexed], rows: int) -> bytes:
    """What a node signs over its bundle."""
    digest = hashlib.sha256(header).digest()
    return tagged("backup-bundle", digest, encode(list(digests)), encode(list(index)), rows.to_bytes(8, "big"))


def part_binding(header: bytes, number: int, what: str) -> bytes:
    """Associated data of one half of one part."""
    return tagged("backup-part", hashlib.sha256(header).digest(), number.to_bytes(4, "big"), what.encode())


def part_nonce(number: int, what: str) -> bytes:
    """A content key seals each half of each part once, so a running number never repeats."""
    return (2 * number + (what == "shares")).to_bytes(12, "big")


def read_header(data: bytes) -> Header:
    """A header of a known format; raises BackupError (`backup.malformed`, `backup.version`)."""
    try:
        stated = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, RecursionError):
        stated = None
    if isinstance(stated, dict) and isinstance(stated.get("format"), int) and stated["format"] > FORMAT:
        raise newer()
    header = decoded(Header, data)
    sizes = (header.cluster, header.roster, header.recipient, header.identity_key)
    if header.format != FORMAT or any(len(field) != 32 for field in sizes) or len(header.export) != EXPORT_BYTES:
        raise BackupError("the header does not have its form")
    if not 0 < header.incarnation < 1 << 32 or not 0 <= header.created_at < 1 << 53:
        raise BackupError("the header does not have its form")
    return header


def assemble(header: bytes, parts: Sequence[bytes], closing: bytes, presentation: Presentation | None = None) -> Bundle:
    """A bundle of its pieces; raises BackupError (`backup.altered`, `backup.signature` and as `read_header`)."""
    facts, end = read_header(header), decoded(Closing, closing)
    if [hashlib.sha256(part).digest() for part in parts] != end.digests:
        raise altered("parts are not those the node signed")
    bundle = Bundle(header=facts, header_bytes=header, parts=tuple(parts), closing=end, presentation=presentation)
    if not is_signed(facts.identity_key, end.signature, bundle.statement):
        raise BackupError(
            "the node's signature is not over this bundle",
            code="backup.signature",
            hint="header, parts or index were altered, or exchanged with another bundle's",
        )
    return bundle


def write_bundle(bundle: Bundle) -> bytes:
    """The file."""
    pieces = [bundle.header_bytes, *bundle.parts, encode(bundle.closing), encode(bundle.presentation)]
    return MAGIC + b"".join(_LENGTH.pack(len(piece)) + piece for piece in pieces)


def read_bundle(data: bytes, *, cluster: bytes, slot: str | None = None) -> Bundle:
    """A file, everything but its seals and its evidence checked.

    Raises BackupError: `backup.malformed`, `backup.version`, `backup.truncated`, `backup.altered`,
    `backup.signature`, `backup.foreign` (another cluster), `backup.slot` (another node's).
    """
    if data[:7] != MAGIC[:7]:
        if MAGIC.startswith(data):
            raise _truncated()
        raise BackupError("not a bundle")
    if len(data) > 7 and data[7] != FORMAT:
        raise newer() if data[7] > FORMAT else BackupError("not a bundle")
    if len(data) > BUNDLE_BYTES_MAX:
        raise BackupError("larger than any bundle", code="backup.too-large")
    pieces = _pieces(data)
    header = read_header(pieces[0])
    if header.cluster != cluster:
        raise BackupError("the bundle is of another cluster", code="backup.foreign")
    if slot is not None and header.slot != slot:
        raise BackupError(
            f"expected the bundle of {slot}, found that of {header.slot}",
            code="backup.slot",
            hint="files were exchanged; each bundle opens for its own slot only",
        )
    presentation = None if pieces[-1] == encode(None) else decoded(Presentation, pieces[-1])
    return assemble(pieces[0], pieces[1:-2], pieces[-2], presentation)


def decoded(kind: type[T], data: bytes) -> T:
    """A message of a bundle; raises BackupError (`backup.malformed`)."""
    try:
        return decode_as(kind, data)
    except WireError:
        raise BackupError("a message of the bundle does not have its form", hint="the file is damaged") from None


def altered(detail: str) -> BackupError:
    """What a changed byte leads to."""
    return BackupError(detail, code="backup.altered", hint="the file is damaged; take another copy")


def newer() -> BackupError:
    """A bundle from the future."""
    return BackupError(
        f"expected bundle format {FORMAT}, found a newer one",
        code="backup.version",
        hint="restore with the version that made it",
    )


def _pieces(data: bytes) -> list[bytes]:
    """Header, parts, closing, evidence."""
    pieces, place = [], len(MAGIC)
    while place < len(data):
        if place + _LENGTH.size > len(data):
            raise _truncated()
        (length,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size
        if length > PART_BYTES_MAX:
            raise altered("a part is larger than any")
        if place + length > len(data):
            raise _truncated()
        pieces.append(data[place : place + length])
        place += length
    if len(pieces) < 3:
        raise _truncated()
    return pieces


def _truncated() -> BackupError:
    return BackupError("the bundle ends too early", code="backup.truncated", hint="fetch or copy the file again")
