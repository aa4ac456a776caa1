"""Opens a bundle with its private key and checks all of it: rows of known kinds, every share against its certificate.

Rules kept (specs/backup.md section 6): nothing is handed on before the whole part it stands in was opened and checked;
shares go from the seal into the arena.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidTag

from enclave.aead import ArenaAead
from enclave.backup.bundle import KINDS, Bundle, Part, Row, altered, decoded, part_binding, part_nonce
from enclave.backup.recipient import BackupKey
from enclave.ceremonies.pending import SHARE_BYTES
from enclave.certificate import KeyCertificate
from enclave.errors import AbortError, BackupError, CallerError, PeerError, StorageError
from enclave.group import GROUPS
from enclave.keys import stored_body
from enclave.secret import Secret
from enclave.tokens import key_resource

_TAG_BYTES = 16

_WRAPPED = ("wrapped", "wrapped-key")


@dataclass(slots=True, kw_only=True)
class Opened:
    """One part: its rows, and the share of each `key` row by name; a context manager that wipes them."""

    rows: list[Row]
    shares: dict[str, Secret]
    certificates: dict[str, KeyCertificate]

    def wipe(self) -> None:
        """Forget the shares."""
        for share in self.shares.values():
            share.wipe()


def open_parts(bundle: Bundle, key: BackupKey) -> Iterator[Opened]:
    """Every part, opened and checked; the shares of one are wiped before the next.

    Raises BackupError: `backup.wrong-key`, `backup.sealed-to-other`, `backup.altered`, `backup.share`,
    `backup.certificate`.
    """
    header = bundle.header
    if not key.is_for(header.recipient):
        raise BackupError(
            f"the mnemonics make another key than the bundle of {header.slot} is sealed to",
            code="backup.wrong-key",
            hint="are they of another slot, or of another setup?",
        )
    with key.unwrap(header.wrapped, header.wrap_info) as content:
        aead = ArenaAead(content)
    digests: dict[str, bytes] = {}
    for number, data in enumerate(bundle.parts, start=1):
        opened = _open(bundle, aead, number, data)
        try:
            _check(opened, bundle, digests)
            yield opened
        finally:
            opened.wipe()


def check_bundle(bundle: Bundle, key: BackupKey) -> dict[str, KeyCertificate]:
    """Open and check everything, keep nothing: `key/version` -> certificate.  Raises as `open_parts`."""
    certificates: dict[str, KeyCertificate] = {}
    for opened in open_parts(bundle, key):
        certificates |= opened.certificates
    expected = {key_resource(item.key, item.version) for item in bundle.closing.index}
    if set(certificates) != expected:
        raise altered("the index names other keys than the parts hold")
    return certificates


def _open(bundle: Bundle, aead: ArenaAead, number: int, data: bytes) -> Opened:
    part = decoded(Part, data)

    def binding(what: str) -> bytes:
        return part_binding(bundle.header_bytes, number, what)

    try:
        plain = aead.decrypt(part_nonce(number, "rows"), part.rows, binding("rows"))
        rows = msgspec.msgpack.decode(plain, type=list[Row])
    except (InvalidTag, msgspec.DecodeError):
        raise altered(f"part {number} does not open") from None
    names = [row.name for row in rows if row.kind == "key"]
    if len(part.shares) != (len(names) * SHARE_BYTES + _TAG_BYTES if names else 0):
        raise altered(f"part {number} has not one share for each key")
    return Opened(rows=rows, shares=_open_shares(aead, part.shares, names, number, binding), certificates={})


def _open_shares(
    aead: ArenaAead, sealed: bytes, names: list[str], number: int, binding: Callable[[str], bytes]
) -> dict[str, Secret]:
    if not names:
        return {}
    with Secret.zero(len(names) * SHARE_BYTES) as together:
        try:
            with together.view as out:
                aead.decrypt_into(part_nonce(number, "shares"), sealed, binding("shares"), out)
        except InvalidTag:
            raise altered(f"the shares of part {number} do not open") from None
        return {name: together.part(place * SHARE_BYTES, SHARE_BYTES) for place, name in enumerate(names)}


def _check(opened: Opened, bundle: Bundle, digests: dict[str, bytes]) -> None:
    """What the sealed content must be, whoever sealed it."""
    for row in opened.rows:
        if row.kind not in KINDS:
            raise altered("a row is of no kind that is backed up")
        if row.kind == "key":
            certificate = _certificate(row, bundle)
            opened.certificates[row.name] = certificate
            if certificate.wrapped_digest is not None:
                digests[certificate.key] = certificate.wrapped_digest
            _check_share(row.name, opened.shares[row.name], certificate, bundle.header.slot)
        elif row.kind in _WRAPPED and digests.get(row.name) not in (None, hashlib.sha256(row.value).digest()):
            raise BackupError(f"what {row.name} wraps is not what its certificate says", code="backup.certificate")


def _certificate(row: Row, bundle: Bundle) -> KeyCertificate:
    try:
        certificate = KeyCertificate.parse(stored_body(row.value))
    except (PeerError, StorageError):
        raise BackupError("a certificate does not have its form", code="backup.certificate") from None
    is_own = certificate.cluster == bundle.header.cluster and certificate.node(bundle.header.slot) is not None
    if not is_own or key_resource(certificate.key, certificate.version) != row.name:
        raise BackupError(
            f"the certificate of {row.name} is for another cluster, key or node", code="backup.certificate"
        )
    return certificate


def _check_share(name: str, share: Secret, certificate: KeyCertificate, slot: str) -> None:
    group, own = GROUPS[certificate.kind.group], certificate.node(slot)
    try:
        group.scalar_check_secret(share)
        fits = own is not None and group.base_mult(share) == own.public_share
    except (AbortError, CallerError):
        fits = False
    if not fits:
        raise BackupError(f"the share of {name} does not fit its certificate", code="backup.share")
