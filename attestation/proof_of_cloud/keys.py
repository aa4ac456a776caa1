"""Ed25519 key files of registry members and of the freshness role: PKCS #8 PEM, mode 0600."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from attestation.errors import StatementError

FRESHNESS = "freshness"
"""File name (without .pem) of the freshness key in a registry's keys directory."""


class HeldKeys:
    """The key files in one directory, by name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def holds(self, name: str) -> bool:
        """Whether there is a key file called `name`."""
        return (self.directory / f"{name}.pem").exists()

    def load(self, name: str) -> Ed25519PrivateKey:
        """The key called `name`; raises StatementError."""
        return load_key(self.directory / f"{name}.pem")

    def create(self, name: str) -> bytes:
        """Make a key called `name` and return its raw public key; raises StatementError if it exists."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return public_bytes(create_key(self.directory / f"{name}.pem"))


def create_key(path: Path) -> Ed25519PrivateKey:
    """Make a key at `path`, readable by the owner only; raises StatementError if the file exists."""
    key = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise StatementError(f"a key already exists at {path}", hint="it is never overwritten") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read a key file; raises StatementError."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        raise StatementError(f"no readable private key at {path}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise StatementError(f"expected an Ed25519 key at {path}")
    return key


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The raw 32-byte public key."""
    return key.public_key().public_bytes_raw()
