"""Partial results as this process receives them: opened with a one-shot key, combined, and held against proofs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke as stock
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.envelope import b64url_decode
from attestation.errors import CodedError
from enclave.certificate import KeyCertificate
from enclave.errors import CallerError, PeerError
from enclave.threshold import hpke
from enclave.wire.message import tagged
from kms.client.certified import CertifiedKey
from kms.client.errors import VerificationError
from kms.client.verification import member

POINT_BYTES = 32

SUITE = stock.Suite(stock.KEM.X25519, stock.KDF.HKDF_SHA256, stock.AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """One node's partial result."""

    slot: str
    index: int
    """Share index by the certificate, not by the gateway."""
    point: bytes
    proof: bytes
    """Empty unless asked for."""


def open_partials(
    answer: Any, certified: CertifiedKey, recipient: X25519PrivateKey, request_id: bytes
) -> list[Partial]:
    """What the nodes sealed to `recipient` for this request; raises VerificationError (`verify.partial`)."""
    indices = {node.slot: node.index for node in certified.certificate.nodes}
    partials: dict[str, Partial] = {}
    for item in member(answer, "partials", list):
        slot = member(item, "slot", str)
        if slot not in indices:
            raise VerificationError(f"{slot[:64]} does not hold this key", code="verify.partial")
        info = tagged("partial", request_id, certified.key.encode(), slot.encode())
        try:
            content = SUITE.decrypt(b64url_decode(item.get("sealed")), recipient, info=info)
        except (InvalidTag, ValueError, CodedError):
            raise VerificationError(
                f"the partial result of {slot} is not sealed for this request", code="verify.partial"
            ) from None
        partials[slot] = Partial(
            slot=slot, index=indices[slot], point=content[:POINT_BYTES], proof=content[POINT_BYTES:]
        )
    if len(partials) < certified.certificate.shares_needed:
        raise VerificationError(
            f"expected {certified.certificate.shares_needed} partial results, found {len(partials)}",
            code="verify.partial",
        )
    return list(partials.values())


def plaintext_of(partials: list[Partial], *, enc: bytes, sealed: bytes, public_key: bytes, info: bytes) -> bytes:
    """The plaintext; raises CallerError (`decrypt.failed`), PeerError (`partial.invalid`)."""
    dh = hpke.combine({partial.index: partial.point for partial in partials})
    return hpke.open(dh, enc, sealed, public_key, info)


def unproven(partials: list[Partial], certificate: KeyCertificate, enc: bytes) -> tuple[str, ...]:
    """Slots whose partial result is not the one their certified share gives."""
    shares: Mapping[int, bytes] = {node.index: node.public_share for node in certificate.nodes}
    ids = [partial.index for partial in partials]
    wrong = []
    for partial in partials:
        try:
            hpke.verify_partial(
                partial.point,
                index=partial.index,
                ids=ids,
                enc=enc,
                public_share=shares[partial.index],
                proof=partial.proof,
            )
        except (PeerError, CallerError):
            wrong.append(partial.slot)
    return tuple(wrong)
