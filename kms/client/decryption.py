"""Encrypt and decrypt on this machine: the cluster only ever contributes sealed partial results.

Sealing is stock HPKE (RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM) to the certified
public key, so anyone may do it without this library.  To open, the nodes seal their partial
Diffie-Hellman points to a one-shot key of this process; the gateway sees neither point nor plaintext.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from attestation.canonical import canonical_json
from attestation.envelope import b64url
from enclave.errors import CallerError, PeerError
from enclave.handlers.decrypt import opened_info
from enclave.payload.ciphertext import KeyReference, describe, split_ciphertext
from enclave.payload.decrypt import context_info
from enclave.threshold import hpke
from kms.client.caller import Caller
from kms.client.certified import CertifiedKey
from kms.client.errors import VerificationError
from kms.client.keys import Keys
from kms.client.partials import SUITE, Partial, open_partials, plaintext_of, unproven
from kms.client.pending import sent
from kms.client.sender import SenderChecker
from kms.client.signing import request_id_of
from kms.client.verification import member

ENC_BYTES = 32
"""Encapsulated key at the start of every ciphertext (RFC 9180 section 7.1, X25519)."""

PLAINTEXT_BYTES_MAX = 512 << 10
"""Largest plaintext in bytes: a request of 1 MiB must still hold it in base64 with room to spare."""

DATA_KEY_BYTES = 32

ROUNDS_MAX = 4
"""Requests for one decryption: without proofs, with them, and without the nodes they prove wrong, twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A plaintext and who was proven wrong on the way to it."""

    plaintext: bytes
    signers: tuple[str, ...]
    """Slots whose partial results made it."""
    culprits: tuple[str, ...] = ()
    """Slots whose partial result was proven wrong; worth an operator's attention."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DataKey:
    """A fresh key for the caller's own encryption: use `plaintext`, forget it, keep `sealed`."""

    plaintext: bytes
    """32 bytes, made on this machine."""
    sealed: bytes
    """The same, sealed in the self-describing form."""


class Decryption:
    """`client.decryption`."""

    def __init__(self, caller: Caller, keys: Keys, checker: SenderChecker) -> None:
        self._caller = caller
        self._keys = keys
        self._checker = checker

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

    async def seal(self, key: str, plaintext: bytes, *, context: Mapping[str, str] | None = None) -> bytes:
        """As `encrypt`, in the self-describing form: it names key and version, so that `open` finds them."""
        sealed = await self.encrypt(key, plaintext, context=context)
        version = (await self._keys.certified(key)).certificate.version
        return describe(KeyReference(key=key, version=version), sealed)

    async def data_key(self, key: str, *, context: Mapping[str, str] | None = None) -> DataKey:
        """A fresh data key, made and sealed here: neither gateway nor nodes take part."""
        plaintext = os.urandom(DATA_KEY_BYTES)
        return DataKey(plaintext=plaintext, sealed=await self.seal(key, plaintext, context=context))

    async def open(self, sealed: bytes, *, context: Mapping[str, str] | None = None) -> bytes:
        """The plaintext of a self-describing ciphertext; raises CallerError (`payload.ciphertext`), as `decrypt`."""
        reference, _ = split_ciphertext(sealed)
        if reference is None:
            raise CallerError(
                "the ciphertext does not say which key it belongs to",
                code="payload.ciphertext",
                hint="name the key: client.decryption.decrypt(key, ciphertext)",
            )
        return await self.decrypt(reference.key, sealed, context=context)

    async def decrypt(
        self,
        key: str,
        ciphertext: bytes,
        *,
        context: Mapping[str, str] | None = None,
        opened_in_enclave: str | None = None,
    ) -> bytes:
        """The plaintext.

        `opened_in_enclave` names a node that opens it with this context and seals the plaintext here, for policies
        that judge contexts; else the partial results come here.  Raises CallerError (`decrypt.failed`) for a changed
        ciphertext, another key's or another context's; RequestRefusedError where policy or the nodes say no.
        """
        if opened_in_enclave is not None:
            return await self._opened_by(opened_in_enclave, key, ciphertext, dict(context or {}))
        return (await self.decrypt_checked(key, ciphertext, context=context)).plaintext

    async def decrypt_checked(self, key: str, ciphertext: bytes, *, context: Mapping[str, str] | None = None) -> Opened:
        """As `decrypt`, telling which nodes were proven wrong.

        When the first set's results do not open the ciphertext, they are asked for again with proofs; nodes whose
        proof fails are named in the next request, which excludes them.  If all are right, the ciphertext is wrong.
        """
        certified = await self._keys.certified(key)
        sealed = stock_form(ciphertext, certified)
        enc, content = sealed[:ENC_BYTES], sealed[ENC_BYTES:]
        info = context_info(dict(context or {}))
        culprits: tuple[str, ...] = ()
        for number in range(ROUNDS_MAX):
            partials = await self._partials(certified, sealed, dict(context or {}), number > 0, culprits)
            try:
                plaintext = plaintext_of(partials, enc=enc, sealed=content, public_key=certified.public_key, info=info)
            except (CallerError, PeerError):
                if number == 0:
                    continue
                wrong = unproven(partials, certified.certificate, enc)
                if not wrong:
                    break
                culprits += wrong
            else:
                return Opened(plaintext=plaintext, signers=tuple(item.slot for item in partials), culprits=culprits)
        raise CallerError("ciphertext does not open", code="decrypt.failed", hint=_blame(culprits))

    async def rewrap(
        self,
        key: str,
        ciphertext: bytes,
        *,
        to: str,
        opened_in_enclave: str,
        context: Mapping[str, str] | None = None,
        to_context: Mapping[str, str] | None = None,
    ) -> bytes:
        """The same plaintext sealed to the key `to` (self-describing), which only the named enclave saw.

        Raises CallerError, RequestRefusedError, VerificationError (`verify.opened`).
        """
        certified, target = await self._keys.certified(key), await self._keys.certified(to)
        _require_decryption_key(target)
        request: dict[str, Any] = {
            "ciphertext": b64url(stock_form(ciphertext, certified)),
            "context": dict(context or {}),
            "opened_in_enclave": opened_in_enclave,
            "to": to,
            "to_context": dict(to_context or {}),
        }
        answer, request_id = await self._send(certified, "rewrap", request)
        version = member(answer, "to_version", int)
        if answer.get("to") != to or version != target.certificate.version:
            raise VerificationError("it was sealed to another key or version", code="verify.opened")
        sealed = await self._checker.sealed(
            answer, name="ciphertext", key=key, opener=opened_in_enclave, request_id=request_id, version=version
        )
        return describe(KeyReference(key=to, version=version), sealed)

    async def _opened_by(self, opener: str, key: str, ciphertext: bytes, context: dict[str, str]) -> bytes:
        certified = await self._keys.certified(key)
        recipient = X25519PrivateKey.generate()
        request = {
            "ciphertext": b64url(stock_form(ciphertext, certified)),
            "context": context,
            "recipient": b64url(recipient.public_key().public_bytes_raw()),
            "opened_in_enclave": opener,
        }
        answer, request_id = await self._send(certified, "decrypt", request)
        sealed = await self._checker.sealed(
            answer, name="sealed", key=key, opener=opener, request_id=request_id, version=0
        )
        try:
            return SUITE.decrypt(sealed, recipient, info=opened_info(request_id, key, opener))
        except (InvalidTag, ValueError):
            raise VerificationError("what was opened is not sealed for this request", code="verify.opened") from None

    async def _partials(
        self, certified: CertifiedKey, sealed: bytes, context: dict[str, str], proofs: bool, without: tuple[str, ...]
    ) -> list[Partial]:
        recipient = X25519PrivateKey.generate()
        request: dict[str, Any] = {
            "ciphertext": b64url(sealed),
            "context": context,
            "recipient": b64url(recipient.public_key().public_bytes_raw()),
        }
        if proofs:
            request["proofs"] = True
        if without:
            request["without"] = sorted(without)
        answer, request_id = await self._send(certified, "decrypt", request)
        if proofs:
            for item in member(answer, "partials", list):
                slot = member(item, "slot", str)
                await self._checker.check_partial(item, slot=slot, key=certified.key, request_id=request_id)
        return open_partials(answer, certified, recipient, request_id)

    async def _send(self, certified: CertifiedKey, verb: str, request: dict[str, Any]) -> tuple[Any, bytes]:
        body = canonical_json(request)
        path = f"/v1/keys/{certified.key}/{verb}"
        token = self._caller.token("POST", path, act="decrypt", resource=certified.resource, body=body)
        return await sent(self._caller, "POST", path, token=token, body=body), request_id_of(token)


def stock_form(ciphertext: bytes, certified: CertifiedKey) -> bytes:
    """enc || ct; raises CallerError (`key.usage`, `decrypt.other-key`, `payload.ciphertext`)."""
    _require_decryption_key(certified)
    reference, sealed = split_ciphertext(ciphertext)
    if reference is not None and (reference.key, reference.version) != (certified.key, certified.certificate.version):
        raise CallerError(
            f"the ciphertext says it was sealed to {reference.key}, version {reference.version}",
            code="decrypt.other-key",
        )
    return sealed


def _blame(culprits: tuple[str, ...]) -> str | None:
    return f"proven wrong on the way: {', '.join(culprits)}" if culprits else None


def _require_decryption_key(certified: CertifiedKey) -> None:
    if certified.certificate.spec != "hpke-x25519":
        raise CallerError(
            f"{certified.key} is a {certified.certificate.spec} key",
            code="key.usage",
            hint="create a key with usage decrypt",
        )
