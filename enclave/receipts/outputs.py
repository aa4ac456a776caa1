"""What left the node, as each scheme's leaf commits to it (specs/receipts.md section 4).

Rule kept: among the parts is always one that nobody can guess, so that a commitment reveals nothing by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from enclave.receipts.asked import Asked

Output = tuple[str, tuple[bytes, ...]]
"""Scheme and parts of an output commitment."""


def message_digest(asked: Asked) -> bytes:
    """SHA-256 of what was signed: the message, or the digest that ECDSA signs."""
    payload: Any = asked.payload
    message = payload.message if payload.message is not None else payload.digest
    return hashlib.sha256(message).digest()


def _frost(asked: Asked, _request: Any, reply: Any) -> Output:
    return "frost-ed25519", (message_digest(asked), reply.group_commitment, reply.share)


def _schnorr(asked: Asked, request: Any, reply: Any) -> Output:
    return "bip340", (message_digest(asked), request.aggregate_nonce, reply.share)


def _ecdsa_start(asked: Asked, _request: Any, reply: Any) -> Output:
    return "ecdsa-begun", (message_digest(asked), reply.session, reply.payload)


def _release(asked: Asked, _request: Any, reply: Any) -> Output:
    return "share-sealed", (message_digest(asked), reply.session, reply.ciphertext)


def _assemble(asked: Asked, _request: Any, reply: Any) -> Output:
    return "ecdsa-assembled", (message_digest(asked), reply.signature)


def _p256_release(_asked: Asked, _request: Any, reply: Any) -> Output:
    return "share-sealed", (reply.session, reply.ciphertext)


def _partial(_asked: Asked, _request: Any, reply: Any) -> Output:
    return "partial", (reply.partial or b"", reply.sealed or b"", reply.row or b"", reply.proof or b"")


def _open(_asked: Asked, _request: Any, reply: Any) -> Output:
    return "opened", (reply.sealed,)


def _secret_release(_asked: Asked, _request: Any, reply: Any) -> Output:
    return "secret-share", (reply.sealed,)


def _export(_asked: Asked, _request: Any, reply: Any) -> Output:
    return "share-exported", (reply.sealed,)


OUTPUTS: dict[str, Callable[[Asked, Any, Any], Output]] = {
    "sign": _frost,
    "schnorr-sign": _schnorr,
    "ecdsa-start": _ecdsa_start,
    "release": _release,
    "assemble": _assemble,
    "p256-release": _p256_release,
    "partial": _partial,
    "open": _open,
    "secret-release": _secret_release,
    "export": _export,
}
"""Verb to what its reply gives out."""
