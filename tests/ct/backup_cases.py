"""A share's way into a bundle and out of it again; mnemonics are not measured (specs/backup.md section 9)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from enclave.aead import ArenaAead
from enclave.backup import exporting
from enclave.backup.bundle import part_binding
from enclave.backup.opening import _check_share, _open_shares
from enclave.backup.recipient import BackupKey, wrap
from enclave.certificate import KeyCertificate, NodeShare
from enclave.group import ED25519
from enclave.key_specs import Custody, Usage
from enclave.secret import Secret
from tests.ct.prepared import Case, Prepared

NAMES = ["key_1/1", "key_2/1"]


def backup_cases() -> Iterator[tuple[str, Case]]:
    """Every (name, case)."""
    yield "backup.exporting._seal_shares", seal_shares
    yield "backup.opening._open_shares", open_shares
    yield "backup.opening._check_share", check_share
    yield "backup.recipient.wrap", wrap_content
    yield "backup.recipient.BackupKey.unwrap", unwrap_content


def seal_shares() -> Prepared:
    """Two shares joined and sealed for custodians."""
    shares = [ED25519.random_scalar() for _ in NAMES]
    export = _export(Secret.random())
    return Prepared(secrets=shares, call=lambda: exporting._seal_shares(export, shares))


def open_shares() -> Prepared:
    """The same two opened into the arena."""
    key = Secret.random()
    sealed = exporting._seal_shares(_export(key), [ED25519.random_scalar() for _ in NAMES])
    aead, binding = ArenaAead(key), lambda what: part_binding(b"header", 0, what)
    return Prepared(secrets=[key], call=lambda: _open_shares(aead, sealed, NAMES, 0, binding))


def check_share() -> Prepared:
    """A restored share held against its public point."""
    share = ED25519.random_scalar()
    certificate = _certificate(ED25519.base_mult(share))
    return Prepared(secrets=[share], call=lambda: _check_share("key_1/1", share, certificate, "node-1"))


def wrap_content() -> Prepared:
    """A content key sealed to both kinds of recipient; the backup key itself is made before anything is poisoned."""
    recipient = _recipient()
    key = Secret.random()

    def run() -> None:
        wrap(recipient.public, key, b"info")
        wrap(recipient.public_x25519, key, b"info")

    return Prepared(secrets=[key], call=run)


def unwrap_content() -> Prepared:
    """A content key opened again."""
    recipient = _recipient()
    wrapped = wrap(recipient.public, Secret.random(), b"info")
    return Prepared(call=lambda: recipient.unwrap(wrapped, b"info"))


def _recipient() -> BackupKey:
    """Of a seed that is not poisoned: OpenSSL samples the public half of ML-KEM keys from it by rejection."""
    with Secret.take(bytearray(os.urandom(32))) as seed:
        return BackupKey(seed)


def _export(key: Secret) -> exporting._Export:
    return exporting._Export(header=b"header", name=b"", aead=ArenaAead(key), rows=[])


def _certificate(point: bytes) -> KeyCertificate:
    return KeyCertificate(
        cluster=bytes(32),
        key="key_1",
        name="measured",
        version=1,
        spec="ed25519",
        usage=Usage.GENERIC,
        custody=Custody.THRESHOLD,
        shares_needed=2,
        nodes=(NodeShare(slot="node-1", index=1, public_share=point),),
        assemblers=(),
        public_key=point,
        chain_code=hashlib.sha256(point).digest(),
        policy="pol_1",
        epoch=1,
        transcript=bytes(32),
        activated_at=0,
    )
