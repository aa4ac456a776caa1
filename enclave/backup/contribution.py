"""A custodian's mnemonic on its way into the restoring process: sealed to the key its evidence binds, and to nothing
else.

Rules kept: sealed for one cluster, slot and boot of the process; the words are readable there only.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from enclave.errors import BackupError, CallerError
from enclave.identity import BootIdentity
from enclave.secret import Secret
from enclave.threshold.ceremony_kem import SEALED_BYTES, seal
from enclave.wire.attestation import Identity
from enclave.wire.message import Message, decode_as, encode, tagged

CONTRIBUTION_BYTES_MAX = 4096

_NONCE = bytes(12)
"""Every key seals one mnemonic."""


class Contribution(Message, frozen=True):
    """One mnemonic, and whose it is."""

    custodian: str
    slot: str
    recipient: bytes
    """Fingerprint of the backup key it is a part of, as its file says."""
    mnemonic: str


def seal_contribution(identity: Identity, contribution: Contribution) -> bytes:
    """Sealed to the process of that verified identity; raises CallerError (`kem.malformed`)."""
    info = _info(identity)
    with Secret.random() as key:
        wrapped = seal(identity.kem_key, key, info)
        return wrapped + AESGCM(key.view).encrypt(_NONCE, encode(contribution), info)


def open_contribution(identity: BootIdentity, sealed: bytes) -> Contribution:
    """What a custodian sealed; raises BackupError (`restore.unreadable`, `backup.malformed`)."""
    if not SEALED_BYTES < len(sealed) <= SEALED_BYTES + CONTRIBUTION_BYTES_MAX:
        raise _unreadable()
    info = _info(identity.public)
    try:
        with identity.open(sealed[:SEALED_BYTES], info) as key:
            plain = AESGCM(key.view).decrypt(_NONCE, sealed[SEALED_BYTES:], info)
        return decode_as(Contribution, plain)
    except (CallerError, InvalidTag):
        raise _unreadable() from None


def _info(identity: Identity) -> bytes:
    kem = hashlib.sha256(identity.kem_key).digest()
    return tagged("backup-contribution", identity.cluster, identity.slot.encode(), identity.identity_key, kem)


def _unreadable() -> BackupError:
    return BackupError(
        "the mnemonic was sealed to another process",
        code="restore.unreadable",
        hint="the process was started again; verify it and contribute again",
    )
