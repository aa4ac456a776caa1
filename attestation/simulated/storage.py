"""Development keys on disk: PEM files only their owner can read, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from attestation.errors import AttestationError
from attestation.simulated.certificates import Issuer


def private_directory(path: Path) -> Path:
    """Create `path` (and parents) readable by the owner only."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` atomically with `data`, mode 0600."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def save_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write an unencrypted PKCS #8 PEM."""
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read what `save_key` wrote; raises AttestationError (`simulated.storage`)."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError):
        raise AttestationError(f"no readable development key at {path}", code="simulated.storage") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AttestationError(f"expected an EC key at {path}", code="simulated.storage")
    return key


def save_rsa_key(path: Path, key: rsa.RSAPrivateKey) -> None:
    """Write an unencrypted PKCS #8 PEM."""
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def load_rsa_key(path: Path) -> rsa.RSAPrivateKey:
    """Read what `save_rsa_key` wrote; raises AttestationError (`simulated.storage`)."""
    try:
        # Our own development key: proving its primes again at every load would take longer than using it.
        key = load_pem_private_key(path.read_bytes(), password=None, unsafe_skip_rsa_key_validation=True)
    except (OSError, ValueError):
        raise AttestationError(f"no readable development key at {path}", code="simulated.storage") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise AttestationError(f"expected an RSA key at {path}", code="simulated.storage")
    return key


def save_issuer(directory: Path, name: str, issuer: Issuer) -> None:
    """Write `name.key` and `name.pem`."""
    save_key(directory / f"{name}.key", issuer.key)
    write_private(directory / f"{name}.pem", issuer.pem)


def load_issuer(directory: Path, name: str) -> Issuer:
    """Read what `save_issuer` wrote; raises AttestationError (`simulated.storage`)."""
    path = directory / f"{name}.pem"
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        raise AttestationError(f"no readable development certificate at {path}", code="simulated.storage") from None
    return Issuer(certificate=certificate, key=load_key(directory / f"{name}.key"))
