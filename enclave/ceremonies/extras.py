"""Sealed rows that go with a share: what is wrapped under a shared scalar, checked against the key's certificate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from enclave.certificate import KeyCertificate
from enclave.errors import PeerError
from enclave.seal import SealedStore

WRAPPED_SECRET, WRAPPED_KEY = "wrapped", "wrapped-key"
"""Kinds of rows: an opaque secret, an imported P-256 key."""

WRAPPED_KINDS = (f"{WRAPPED_SECRET}/", f"{WRAPPED_KEY}/")


def wrapped_rows(store: SealedStore, keys: Iterable[KeyCertificate]) -> dict[str, bytes]:
    """The wrapped rows of these keys that this node has, by `kind/id`."""
    rows = {}
    for key in keys:
        if key.wrapped_digest is None:
            continue
        for kind in (WRAPPED_SECRET, WRAPPED_KEY):
            found = store.get(kind, key.key)
            if found is not None:
                rows[f"{kind}/{key.key}"] = found
    return rows


def check_wrapped(slot: str, rows: Mapping[str, bytes], keys: Iterable[KeyCertificate]) -> dict[str, bytes]:
    """The rows, once they are what the certificates name; raises PeerError (`ceremony.malformed`) naming `slot`."""
    expected = {key.key: key.wrapped_digest for key in keys if key.wrapped_digest is not None}
    found = {name.partition("/")[2]: hashlib.sha256(value).digest() for name, value in rows.items()}
    if found != expected:
        raise PeerError("wrapped rows are not those of the keys", culprits=[slot], code="ceremony.malformed")
    return dict(rows)
