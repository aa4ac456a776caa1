"""The file an exported key is written to: always encrypted, created with mode 0600, never over another file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_der_private_key,
)
from nacl._sodium import ffi

from enclave.addresses import evm_address
from enclave.secret import Secret
from kms.client.errors import ConfigurationError
from kms.client.importing.keystore import SCRYPT_N, keystore_of
from kms.client.importing.material import Curve
from kms.client.key_exports import ExportedKey

PASSWORD_BYTES_MIN = 12
"""Shortest password in bytes: the file is as safe as this."""

FORMATS = ("keystore", "pem")

_PKCS8 = {
    Curve.P256: bytes.fromhex("3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420"),
    Curve.SECP256K1: bytes.fromhex("303e020100301006072a8648ce3d020106052b8104000a042730250201010420"),
}
"""Everything of the document (RFC 5208, RFC 5915) in front of the 32 bytes of the private key."""


def encrypted(key: ExportedKey, form: str, password: bytes | bytearray, *, n: int = SCRYPT_N) -> bytes:
    """The file's content.  `keystore`: version 3, scrypt; `pem`: PKCS #8, PBKDF2.

    Raises ConfigurationError (`client.export-password`, `client.export-form`).
    """
    if len(password) < PASSWORD_BYTES_MIN:
        raise ConfigurationError(
            f"expected a password of at least {PASSWORD_BYTES_MIN} bytes", code="client.export-password"
        )
    if form == "keystore":
        is_plain = key.curve is Curve.SECP256K1
        holds = {"curve": str(key.curve), "form": "scalar" if key.curve is Curve.ED25519 else "private"}
        address = evm_address(key.certificate.public_key) if is_plain else None
        value = keystore_of(key.secret, password, holds=None if is_plain else holds, address=address, n=n)
        return json.dumps(value, indent=1).encode() + b"\n"
    if form == "pem":
        return _pem(key, bytes(password))
    raise ConfigurationError(f"expected a format of {', '.join(FORMATS)}", code="client.export-form")


def write_private(path: Path, data: bytes) -> None:
    """Create the file with mode 0600; raises ConfigurationError (`client.key-file`) if it exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} exists and is not overwritten", code="client.key-file", hint="choose another file name"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot create {path}: {error.strerror}", code="client.key-file") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _pem(key: ExportedKey, password: bytes) -> bytes:
    if key.curve is Curve.ED25519:
        raise ConfigurationError(
            "PEM holds Ed25519 seeds, and of this key only the scalar exists",
            code="client.export-form",
            hint="use --format keystore",
        )
    if key.curve is Curve.X25519:
        private = X25519PrivateKey.from_private_bytes(key.secret.view)
        return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    head = _PKCS8[key.curve]
    with Secret.zero(len(head) + key.secret.size) as document:
        ffi.memmove(document.p, head, len(head))
        ffi.memmove(document.p + len(head), key.secret.p, key.secret.size)
        loaded = load_der_private_key(document.view, None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
