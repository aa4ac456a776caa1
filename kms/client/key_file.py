"""Key files: a PKCS #8 PEM block under comment lines that say whose key it is.

    # holdfast agent: agt_...
    -----BEGIN PRIVATE KEY-----

Other tools read the file as plain PEM.  It is created with mode 0600 and refused when others can
read it, as SSH does: a credential that leaked silently is worse than a command that stops.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from enclave.ids import check_id
from kms.client.errors import ConfigurationError

KEY_FILE_BYTES_MAX = 1 << 16
"""A key file is about 200 bytes; more than 64 KiB is some other file."""

_OWNERS = {"agent": "agt", "operator": "opr", "approver": "apr"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class KeyFile:
    """What a key file holds."""

    kind: str | None
    """`agent`, `operator`, or None for a bare PEM file."""
    owner: str | None
    """The id in the comment."""
    pem: bytes


def read_key_file(path: Path) -> KeyFile:
    """Read a key file; raises ConfigurationError (`client.key-file`)."""
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            data = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _error(f"cannot read the key file {path}: {error.strerror}") from None
    if mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
        raise _error(f"expected {path} to be private, found mode {stat.S_IMODE(mode):04o}", hint=f"chmod 600 {path}")
    start = data.find(b"-----BEGIN ")
    if start < 0 or len(data) > KEY_FILE_BYTES_MAX:
        raise _error(f"expected a PEM private key in {path}")
    kind, owner = _heading(data[:start])
    return KeyFile(kind=kind, owner=owner, pem=data[start:])


def write_key_file(path: Path, *, kind: str, owner: str, pem: bytes) -> None:
    """Create a key file (mode 0600); raises ConfigurationError if it exists: keys are never overwritten."""
    check_id(owner, _OWNERS[kind])
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise _error(f"{path} exists and is not overwritten", hint="choose another file name") from None
    except OSError as error:
        raise _error(f"cannot create {path}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(f"# holdfast {kind}: {owner}\n".encode() + pem)


def _heading(text: bytes) -> tuple[str | None, str | None]:
    for line in text.decode("utf-8", "replace").splitlines():
        words = line.removeprefix("#").split()
        if len(words) == 3 and words[0] == "holdfast" and words[1].rstrip(":") in _OWNERS:
            kind = words[1].rstrip(":")
            return kind, check_id(words[2], _OWNERS[kind])
    return None, None


def _error(detail: str, *, hint: str | None = None) -> ConfigurationError:
    return ConfigurationError(detail, code="client.key-file", hint=hint)
