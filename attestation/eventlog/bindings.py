"""Bindings from measured values to what runs: compose file, application id, configuration documents.

Each check takes verified claims (or a log already checked against them) and the exact bytes of a document.
"""

from __future__ import annotations

import hashlib

from attestation.errors import EvidenceError
from attestation.eventlog.dstack import DstackLog
from attestation.evidence import Claims, Tee

_MR_CONFIG_BYTES = 48
_V3_TAG = b"dstack-mr-config-v3:\x00"


def check_compose(log: DstackLog, app_compose: bytes) -> None:
    """The measured compose hash is SHA-256 of exactly these bytes; raises EvidenceError (`binding.compose-hash`)."""
    if log.boot.get("compose-hash") != hashlib.sha256(app_compose).digest():
        raise EvidenceError("compose file is not the measured one", code="binding.compose-hash")


def check_app_id(log: DstackLog, *, assigned: bytes | None = None) -> None:
    """The app id is `assigned`, or else the first 20 bytes of the compose hash; raises `binding.app-id`."""
    expected = assigned if assigned is not None else log.boot.get("compose-hash", b"")[:20]
    if not expected or log.boot.get("app-id") != expected:
        raise EvidenceError(
            "application id is neither assigned nor derived from the compose file", code="binding.app-id"
        )


def mr_config_v1(compose_hash: bytes) -> bytes:
    """MRCONFIGID version 1: 01 || compose hash || zeros."""
    return _padded(b"\x01" + compose_hash)


def mr_config_v3(document: bytes) -> bytes:
    """MRCONFIGID version 3: 03 || SHA-256(tag || document) || zeros."""
    return _padded(b"\x03" + mr_config_digest(document))


def mr_config_digest(document: bytes) -> bytes:
    """SHA-256 under the version 3 tag, 32 bytes: also what SNP puts into HOST_DATA."""
    return hashlib.sha256(_V3_TAG + document).digest()


def check_mr_config(claims: Claims, *, compose_hash: bytes | None = None, document: bytes | None = None) -> None:
    """MRCONFIGID of a TD commits to the compose hash (version 1) or to a configuration document (version 3).

    Version 2 needs the application's key provider and Keccak; it is reported as such, not guessed.
    Raises EvidenceError (`binding.mr-config`, `binding.mr-config-version`).
    """
    if claims.tee is not Tee.TDX:
        raise EvidenceError("MRCONFIGID belongs to TDX", code="binding.mr-config")
    measured = bytes.fromhex(claims.measurements["mrconfigid"])
    if measured[0] == 1 and compose_hash is not None:
        expected = mr_config_v1(compose_hash)
    elif measured[0] == 3 and document is not None:
        expected = mr_config_v3(document)
    else:
        raise EvidenceError(
            f"MRCONFIGID has version {measured[0]}, for which nothing was given", code="binding.mr-config-version"
        )
    if measured != expected:
        raise EvidenceError("MRCONFIGID does not commit to this configuration", code="binding.mr-config")


def check_host_data(claims: Claims, document: bytes) -> None:
    """HOST_DATA of an SNP guest commits to a version 3 configuration document; raises `binding.host-data`."""
    if claims.tee is not Tee.SEV_SNP or claims.measurements["host_data"] != mr_config_digest(document).hex():
        raise EvidenceError("HOST_DATA does not commit to this configuration", code="binding.host-data")


def _padded(value: bytes) -> bytes:
    return value + bytes(_MR_CONFIG_BYTES - len(value))
