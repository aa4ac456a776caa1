"""Encrypt and decrypt on this machine: the cluster only ever contributes sealed partial results.

Sealing is stock HPKE (RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM) to the certified
public key, so anyone may do it without this library.  To open, the nodes seal their partial
Diffie-Hellman points to a one-shot key of this process; the gateway sees neither point nor plaintext.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke as stock
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url, b64url_decode
from attestation.errors import CodedError
from enclave.errors import CallerError
from enclave.payload.decrypt import context_info
from enclave.threshold import hpke
from enclave.wire import tagged
from kms.client.caller import Caller
from kms.client.certified import CertifiedKey
from kms.client.errors import VerificationError
from kms.client.keys import Keys
from kms.client.signing import request_id_of
from kms.client.verification import member

ENC_BYTES = 32
"""Encapsulated key at the start of every ciphertext (RFC 9180 section 7.1, X25519)."""

PLAINTEXT_BYTES_MAX = 512 << 10
"""Largest plaintext in bytes: a request of 1 MiB must still hold it in base64 with room to spare."""

_SUITE = stock.Suite(stock.KEM.X25519, stock.KDF.HKDF_SHA256, stock.AEAD.AES_256_GCM)


class Decryption:
    """`client.decryption`."""

    def __init__(self, caller: Caller, keys: Keys) -> None:
        self._caller = caller
        self._keys = keys

    async def encrypt(self, key: str, plaintext: bytes, *, context: Mapping[str, str] | None = None) -> bytes:
        """enc || ciphertext, sealed here to the certified key; `context` must be given again to open it."""
        certified = await self._keys.certified(key)
        _require_decryption_key(certified)
        if len(plaintext) > PLAINTEXT_BYTES_MAX:
            raise CallerError(
                f"expected at most {PLAINTEXT_BYTES_MAX} bytes, found {len(plaintext)}",
                code="plaintext.too-large",
                hint="encrypt a data key, and the data with that",
            )
        return hpke.seal(certified.public_key, plaintext, context_info(dict(context or {})))

    async def decrypt(self, key: str, ciphertext: bytes, *, context: Mapping[str, str] | None = None) -> bytes:
        """The plaintext.

        Raises CallerError (`decrypt.failed`) for a changed ciphertext, another key's or another context's;
        RequestRefusedError where policy or the nodes say no.
        """
        certified = await self._keys.certified(key)
        _require_decryption_key(certified)
        recipient = X25519PrivateKey.generate()
        request: dict[str, Any] = {
            "ciphertext": b64url(ciphertext),
            "context": dict(context or {}),
            "recipient": b64url(recipient.public_key().public_bytes_raw()),
        }
        body = canonical_json(request)
        path = f"/v1/keys/{key}/decrypt"
        token = self._caller.token("POST", path, act="decrypt", resource=certified.resource, body=body)
        answer = await self._caller.send("POST", path, token=token, body=body)
        partials = _open_partials(answer, certified, recipient, request_id_of(token))
        enc, sealed = ciphertext[:ENC_BYTES], ciphertext[ENC_BYTES:]
        return hpke.open(hpke.combine(partials), enc, sealed, certified.public_key, context_info(dict(context or {})))


def _open_partials(
    answer: Any, certified: CertifiedKey, recipient: X25519PrivateKey, request_id: bytes
) -> dict[int, bytes]:
    """Index -> partial point; indices are the certificate's, not the gateway's."""
    indices = {node.slot: node.index for node in certified.certificate.nodes}
    partials = {}
    for item in member(answer, "partials", list):
        slot = member(item, "slot", str)
        if slot not in indices:
            raise VerificationError(f"{slot[:64]} does not hold this key", code="verify.partial")
        info = tagged("partial", request_id, certified.key.encode(), slot.encode())
        try:
            partials[indices[slot]] = _SUITE.decrypt(b64url_decode(item.get("sealed")), recipient, info=info)
        except (InvalidTag, ValueError, CodedError):
            raise VerificationError(
                f"the partial result of {slot} is not sealed for this request", code="verify.partial"
            ) from None
    if len(partials) < certified.certificate.shares_needed:
        raise VerificationError(
            f"expected {certified.certificate.shares_needed} partial results, found {len(partials)}",
            code="verify.partial",
        )
    return partials


def _require_decryption_key(certified: CertifiedKey) -> None:
    if certified.certificate.spec != "hpke-x25519":
        raise CallerError(
            f"{certified.key} is a {certified.certificate.spec} key",
            code="key.usage",
            hint="create a key with usage decrypt",
        )
