"""Everything a verification needs besides the evidence: an immutable set of vendor documents, unverified until used.

Rules: size caps come before parsing; each blob is one of the shapes listed at `Collateral.of`
and nothing else; what arrives in a bundle is judged with that bundle's own issuer chain; a set
is chosen from by time (newest document not newer than `now`), never by trust.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from attestation.collateral_bundle import write_bundle
from attestation.collateral_items import CrlItem, IdentityItem, Item, TcbInfoItem, read_blob
from attestation.errors import CollateralError
from attestation.evidence import Tee
from attestation.limits import BLOB_BYTES_MAX, COLLATERAL_BYTES_MAX, COLLATERAL_ITEMS_MAX
from attestation.x509 import Certificate

D = TypeVar("D", TcbInfoItem, IdentityItem, CrlItem)

_SUFFIXES = frozenset({".json", ".pem", ".der", ".crt", ".cer", ".crl"})
"""File names taken from a collateral directory; anything else in it is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    """A set of vendor documents; equal sets have equal digests whatever the order or wrapping they came in."""

    tcb_infos: tuple[TcbInfoItem, ...] = ()
    identities: tuple[IdentityItem, ...] = ()
    crls: tuple[CrlItem, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    digest: bytes = field(default=hashlib.sha256().digest())
    """SHA-256 over the items' own digests in order: names the set in caches and records."""

    @classmethod
    def of(cls, *blobs: bytes) -> Collateral:
        """Read blobs, each one of: a JSON bundle (`QuoteCollateralV3` names, or made by `to_bundle`),
        `{"tcbInfo", "signature"}`, `{"enclaveIdentity", "signature"}`, PEM certificates and CRLs, one DER
        certificate or CRL.

        Raises CollateralError (`collateral.malformed`, `collateral.unknown-format`, `collateral.too-large`).
        """
        return cls._from_items(item for blob in _bounded(blobs) for item in read_blob(blob))

    @classmethod
    def load(cls, paths: Sequence[Path]) -> Collateral:
        """Read files and directories (recursively; known suffixes, unrecognised contents skipped).

        Raises CollateralError, also when a named path cannot be read.
        """
        items: list[Item] = []
        total = 0
        for path in paths:
            named = not path.is_dir()
            for file in [path] if named else _files(path):
                data = _read_file(file)
                total += len(data)
                if total > COLLATERAL_BYTES_MAX:
                    raise CollateralError("collateral is larger than any real set", code="collateral.too-large")
                try:
                    items.extend(read_blob(data))
                except CollateralError as error:
                    if named or error.code != "collateral.unknown-format":
                        raise CollateralError(f"{file.name}: {error.detail}", code=error.code) from None
        return cls._from_items(items)

    def merged(self, other: Collateral) -> Collateral:
        """Both sets, keeping only the newest TCB info, identity and CRL of each kind; certificates of both."""
        return Collateral._from_items(
            (
                *_newest(self.tcb_infos + other.tcb_infos),
                *_newest(self.identities + other.identities),
                *_newest(self.crls + other.crls),
                *self.certificates,
                *other.certificates,
            )
        )

    def blobs(self) -> list[bytes]:
        """The set as blobs that `Collateral.of` reads back to an equal set."""
        documents: tuple[TcbInfoItem | IdentityItem | CrlItem, ...] = (*self.tcb_infos, *self.identities, *self.crls)
        return [item.blob() for item in documents] + [certificate.der for certificate in self.certificates]

    def to_bundle(self) -> bytes:
        """The set as one file that `Collateral.of` reads back to an equal set; raises CollateralError if too large."""
        return write_bundle(self.blobs())

    def tcb_info_for(self, tee: Tee, fmspc: bytes, now: int) -> tuple[TcbInfoItem | None, int | None]:
        """The newest TCB info for this platform not issued after `now`, and when a later one takes over.

        If every one is in the future the earliest of them is returned, so that its date can be reported.
        """
        return _choose([item for item in self.tcb_infos if item.info.tee is tee and item.info.fmspc == fmspc], now)

    def identity_named(self, name: str, now: int) -> tuple[IdentityItem | None, int | None]:
        """The enclave identity called `name`, chosen like `tcb_info_for`."""
        return _choose([item for item in self.identities if item.identity.name == name], now)

    def crl_of(self, issuer: bytes, now: int) -> tuple[CrlItem | None, int | None]:
        """The revocation list of this issuer (DER name), chosen like `tcb_info_for`."""
        return _choose([item for item in self.crls if item.crl.issuer == issuer], now)

    @classmethod
    def _from_items(cls, items: Iterable[Item]) -> Collateral:
        unique: dict[bytes, Item] = {}
        for item in items:
            unique.setdefault(hashlib.sha256(item.der).digest() if isinstance(item, Certificate) else item.digest, item)
            if len(unique) > COLLATERAL_ITEMS_MAX:
                raise CollateralError(
                    f"expected at most {COLLATERAL_ITEMS_MAX} collateral items", code="collateral.too-large"
                )
        ordered = [unique[key] for key in sorted(unique)]
        return cls(
            tcb_infos=tuple(item for item in ordered if isinstance(item, TcbInfoItem)),
            identities=tuple(item for item in ordered if isinstance(item, IdentityItem)),
            crls=tuple(item for item in ordered if isinstance(item, CrlItem)),
            certificates=tuple(item for item in ordered if isinstance(item, Certificate)),
            digest=hashlib.sha256(b"".join(sorted(unique))).digest(),
        )


def _choose(items: Sequence[D], now: int) -> tuple[D | None, int | None]:
    later = [item for item in items if item.rank[0] > now]
    takes_over = min(later, key=lambda item: item.rank, default=None)
    current = max((item for item in items if item.rank[0] <= now), key=lambda item: item.rank, default=takes_over)
    if takes_over is None or current is takes_over:
        return current, None
    return current, takes_over.rank[0]


def _newest(items: Sequence[D]) -> list[D]:
    newest: dict[tuple[object, ...], D] = {}
    for item in items:
        held = newest.get(item.kind)
        if held is None or item.rank > held.rank:
            newest[item.kind] = item
    return list(newest.values())


def _bounded(blobs: Sequence[bytes]) -> Iterator[bytes]:
    if sum(len(blob) for blob in blobs) > COLLATERAL_BYTES_MAX:
        raise CollateralError("collateral is larger than any real set", code="collateral.too-large")
    yield from blobs


def _files(directory: Path) -> list[Path]:
    try:
        found = (path for path in directory.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        return sorted(islice(found, COLLATERAL_ITEMS_MAX))
    except OSError as error:
        raise CollateralError(f"cannot read {directory.name}: {error.strerror}", code="collateral.unreadable") from None


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(BLOB_BYTES_MAX + 1)
    except OSError as error:
        raise CollateralError(f"cannot read {path.name}: {error.strerror}", code="collateral.unreadable") from None
