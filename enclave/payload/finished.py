"""What a signature makes of its payload where a payload is part of something whole: a signed PSBT, a finished token.

Raw transactions of EVM keys come from `enclave.payload.sign.signed_transaction`.  Gateway and client both build
these; the client believes only its own.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from enclave.payload.psbt import with_signature
from enclave.payload.sign import Payload


def finished_schnorr(payload: Payload, signature: bytes) -> dict[str, bytes]:
    """`psbt` or `token` of a 64-byte signature (Ed25519 or BIP-340); empty for other kinds."""
    if payload.bitcoin is not None:
        return {"psbt": with_signature(payload.bitcoin.source, payload.bitcoin, signature, b"")}
    if payload.jws is not None:
        return {"token": payload.jws.compact(signature).encode("ascii")}
    return {}


def finished_ecdsa(payload: Payload, r: int, s: int, public_key: bytes) -> dict[str, bytes]:
    """`psbt` or `token` of an ECDSA signature under a 33-byte public key; empty for other kinds."""
    if payload.bitcoin is not None:
        der = encode_dss_signature(r, s)
        return {"psbt": with_signature(payload.bitcoin.source, payload.bitcoin, der, public_key)}
    if payload.jws is not None:
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return {"token": payload.jws.compact(raw).encode("ascii")}
    return {}
